// Comparisons of CUDA kernels with the CPU's, for two sides: the kernel source run on the host by the
// emulator, and a device behind the C ABI.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "abi/cuda_kernels.h"
#include "check.h"
#include "horosphere/horo.h"

namespace cases {

// Where the kernels run and what memory they see.
class Side {
  public:
    virtual ~Side() = default;
    // Memory with the given contents, of which kernels may touch [from, to).
    virtual char* up(const void* contents, size_t bytes, size_t from, size_t to) = 0;
    virtual void down(void* to, const char* from, size_t bytes) = 0;
    virtual void release(char* memory) = 0;

    horo::CudaKernels kernels{};
    bool quick = true;
};

inline void ran(int32_t status, const char* what) {
    if (status == HORO_OK) return;
    std::fprintf(stderr, "%s: status %d: %s\n", what, status, horo_last_error());
    std::exit(1);
}

// n elements on the side, `offset` elements after a multiple of 16 bytes, between elements that nobody may
// touch.
template <class T>
class Array {
  public:
    Array(Side& side, const std::vector<T>& values, int64_t offset = 0)
        : side_(side), offset_(static_cast<size_t>(offset)), all_(offset_ + values.size() + guard) {
        std::memset(all_.data(), 0x5a, all_.size() * sizeof(T));
        std::copy(values.begin(), values.end(), all_.begin() + static_cast<int64_t>(offset_));
        memory_ = side.up(all_.data(), all_.size() * sizeof(T), offset_ * sizeof(T),
                          (offset_ + values.size()) * sizeof(T));
    }
    ~Array() { side_.release(memory_); }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    T* p() const { return reinterpret_cast<T*>(memory_) + offset_; }
    operator T*() const { return p(); }

    std::vector<T> values() const {
        std::vector<T> got(all_.size());
        side_.down(got.data(), memory_, got.size() * sizeof(T));
        const size_t end = got.size() - guard;
        CHECK(std::memcmp(got.data(), all_.data(), offset_ * sizeof(T)) == 0, "wrote before an operand");
        CHECK(std::memcmp(got.data() + end, all_.data() + end, guard * sizeof(T)) == 0,
              "wrote after an operand");
        return std::vector<T>(got.begin() + static_cast<int64_t>(offset_),
                              got.end() - static_cast<int64_t>(guard));
    }

  private:
    static constexpr size_t guard = 8;
    Side& side_;
    size_t offset_;
    std::vector<T> all_;
    char* memory_;
};

inline std::mt19937& engine() {
    static std::mt19937 generator(7);
    return generator;
}

template <class T = float>
std::vector<T> normal(int64_t n, double scale = 1) {
    std::normal_distribution<double> distribution(0, scale);
    std::vector<T> x(static_cast<size_t>(n));
    for (T& v : x) v = static_cast<T>(distribution(engine()));
    return x;
}

inline std::vector<int32_t> integers(int64_t n, int32_t low, int32_t high) {
    std::uniform_int_distribution<int32_t> distribution(low, high);
    std::vector<int32_t> x(static_cast<size_t>(n));
    for (int32_t& v : x) v = distribution(engine());
    return x;
}

// Rows of `width` agree to `tolerance` of the row's largest number, or of `terms` where the numbers are sums
// of terms that large; NaN and infinities sit in the same places.
template <class T>
void same(const std::vector<T>& got, const std::vector<T>& want, int64_t width, double tolerance,
          const std::string& what, double terms = 0) {
    CHECK(got.size() == want.size(), "%s: sizes", what.c_str());
    for (size_t row = 0; row * static_cast<size_t>(width) < want.size(); ++row) {
        const size_t first = row * static_cast<size_t>(width);
        const size_t last = std::min(want.size(), first + static_cast<size_t>(width));
        double largest = terms, worst = 0;
        size_t misplaced = 0;
        for (size_t i = first; i < last; ++i) {
            const double a = static_cast<double>(got[i]), b = static_cast<double>(want[i]);
            if (std::isfinite(a) && std::isfinite(b)) {
                largest = std::fmax(largest, std::fabs(b));
                worst = std::fmax(worst, std::fabs(a - b));
            } else {
                misplaced += !((std::isnan(a) && std::isnan(b)) || a == b);
            }
        }
        CHECK(misplaced == 0, "%s: row %zu: NaN or infinity in %zu wrong places", what.c_str(), row,
              misplaced);
        CHECK(worst <= tolerance * largest, "%s: row %zu: error %g of %g", what.c_str(), row, worst, largest);
    }
}

template <class T>
void bitwise(const std::vector<T>& got, const std::vector<T>& want, const std::string& what) {
    CHECK(got.size() == want.size() && std::memcmp(got.data(), want.data(), got.size() * sizeof(T)) == 0,
          "%s: bits differ", what.c_str());
}

}  // namespace cases
