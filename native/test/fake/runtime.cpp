#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_runtime.h"
#include "emulate.h"

using Work = std::function<void()>;

struct FakeStream {
    std::vector<Work> work;
    FakeGraph* capture = nullptr;
    std::thread::id capturing;  // the thread that captures
    bool broken = false;        // the capture met what cannot be captured
};
struct FakeGraph {
    std::vector<Work> work;
};

namespace {

constexpr size_t most = size_t{1} << 30, gap = 256;  // a gap is between any two allocations

enum Count { waits, allocations, kernels, copies };

struct Device {
    std::recursive_mutex lock;
    char* memory = nullptr;
    size_t used = 0;                      // no byte from here on was ever allocated
    std::map<size_t, size_t> blocks;      // of what is allocated: offset and bytes, without the gap
    std::map<char*, size_t> pinned;       // host memory of cudaHostAlloc
    std::map<FakeStream*, bool> streams;  // all there are
    FakeStream standard;
    int64_t counts[4] = {};
};

Device& device() {
    static Device& one = *new Device;  // threads may outlive statics
    return one;
}
using Guard = std::lock_guard<std::recursive_mutex>;

// Device memory, all of it or what an allocation takes, is within reach in the scope of one.
class Reach {
  public:
    Reach() : Reach(device().memory, device().used) {}
    Reach(char* from, size_t bytes) {
        const uintptr_t begin = reinterpret_cast<uintptr_t>(from), page = 4096;
        begin_ = begin / page * page;
        bytes_ = (begin + bytes + page - 1) / page * page - begin_;
        protect(PROT_READ | PROT_WRITE);
    }
    ~Reach() { protect(PROT_NONE); }
    Reach(const Reach&) = delete;
    Reach& operator=(const Reach&) = delete;

  private:
    void protect(int how) {
        if (begin_ && bytes_ && mprotect(reinterpret_cast<void*>(begin_), bytes_, how)) {
            std::perror("mprotect");
            std::abort();
        }
    }
    uintptr_t begin_;
    size_t bytes_;
};

// NaN for whoever reads it; of large allocations the beginning.
void spoil(void* memory, size_t bytes) {
    const size_t some = bytes < size_t{1} << 20 ? bytes : size_t{1} << 20;
    const Reach reach(static_cast<char*>(memory), some);
    std::memset(memory, 0xff, some);
}

FakeStream& of(cudaStream_t stream) { return stream ? *stream : device().standard; }

void run(FakeStream& stream) {
    if (stream.work.empty()) return;
    const Reach reach;
    const std::vector<Work> work = std::move(stream.work);
    stream.work.clear();
    for (const Work& next : work) next();
}

void run_all() {
    run(device().standard);
    for (auto& [stream, there] : device().streams) run(*stream);
}

cudaError_t enqueue(cudaStream_t stream, Count kind, Work work) {
    const Guard guard(device().lock);
    ++device().counts[kind];
    FakeStream& on = of(stream);
    (on.capture ? on.capture->work : on.work).push_back(std::move(work));
    return cudaSuccess;
}

// What a thread must not do while it captures; the capture is lost.
bool forbidden(FakeStream& stream) {
    if (stream.capture) stream.broken = true;
    return stream.capture;
}
bool forbidden() {
    bool any = false;
    for (auto& [stream, there] : device().streams)
        if (stream->capturing == std::this_thread::get_id()) any |= forbidden(*stream);
    return any;
}

bool on_device(const void* p) {
    const char* at = static_cast<const char*>(p);
    return device().memory && at >= device().memory && at < device().memory + most;
}

bool is_pinned(const void* p, size_t bytes) {
    char* at = static_cast<char*>(const_cast<void*>(p));
    auto block = device().pinned.upper_bound(at);
    return block != device().pinned.begin() &&
           at + bytes <= std::prev(block)->first + std::prev(block)->second;
}

// Copies and fills obey the bounds of allocations as kernels do.
void check(const void* p, size_t bytes) {
    if (on_device(p)) horo::emulate::on_access(p, 1, bytes);
}

[[maybe_unused]] const bool hooked = (horo::emulate::submit = fake_submit, true);

}  // namespace

void fake_submit(void* stream, std::function<void()> work) {
    enqueue(static_cast<cudaStream_t>(stream), kernels, std::move(work));
}

extern "C" void horo_fake_counts(int64_t counts[4]) {
    const Guard guard(device().lock);
    std::memcpy(counts, device().counts, sizeof device().counts);
}

cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t code) {
    return code == cudaErrorMemoryAllocation           ? "out of memory"
           : code == cudaErrorStreamCaptureUnsupported ? "operation not permitted when stream is capturing"
           : code == cudaErrorStreamCaptureInvalidated
               ? "operation failed due to a previous error during capture"
               : "refused by the fake";
}
cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int* number) {
    *number = 0;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int number) { return number == 0 ? cudaSuccess : cudaErrorInvalidValue; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
    *value = 8;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    std::snprintf(properties->name, sizeof properties->name, "emulated on the host");
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    const Guard guard(device().lock);
    size_t taken = 0;
    for (const auto& [offset, bytes] : device().blocks) taken += bytes;
    *total = most;
    *free = most - taken;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
    Device& d = device();
    const Guard guard(d.lock);
    if (forbidden()) return cudaErrorStreamCaptureUnsupported;
    ++d.counts[allocations];
    if (!d.memory) {
        void* all = mmap(nullptr, most, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (all == MAP_FAILED) return cudaErrorMemoryAllocation;
        d.memory = static_cast<char*>(all);
    }
    const size_t wanted = (bytes + 255) / 256 * 256 + gap;
    size_t at = 0;
    for (const auto& [offset, size] : d.blocks) {
        if (at + wanted <= offset) break;
        at = offset + (size + 255) / 256 * 256 + gap;
    }
    if (at + wanted > most) return cudaErrorMemoryAllocation;
    if (at + wanted > d.used) d.used = at + wanted;
    d.blocks[at] = bytes;
    *memory = d.memory + at;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(*memory);
    horo::emulate::memory()[begin] = begin + bytes;
    spoil(*memory, bytes);
    return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
    Device& d = device();
    const Guard guard(d.lock);
    if (forbidden()) return cudaErrorStreamCaptureUnsupported;
    ++d.counts[waits];
    run_all();
    const auto block = d.blocks.find(static_cast<size_t>(static_cast<char*>(memory) - d.memory));
    if (block == d.blocks.end()) return cudaErrorInvalidValue;
    spoil(memory, block->second);
    horo::emulate::memory().erase(reinterpret_cast<uintptr_t>(memory));
    d.blocks.erase(block);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
    const Guard guard(device().lock);
    if (forbidden()) return cudaErrorStreamCaptureUnsupported;
    ++device().counts[allocations];
    *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!*memory) return cudaErrorMemoryAllocation;
    std::memset(*memory, 0xff, bytes);
    device().pinned[static_cast<char*>(*memory)] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
    const Guard guard(device().lock);
    if (forbidden()) return cudaErrorStreamCaptureUnsupported;
    ++device().counts[waits];
    run_all();
    if (!device().pinned.erase(static_cast<char*>(memory))) return cudaErrorInvalidValue;
    std::free(memory);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    const Guard guard(device().lock);
    const auto body = [=] {
        check(to, bytes);
        check(from, bytes);
        std::memcpy(to, from, bytes);
    };
    const auto later = [&](const void* p) { return on_device(p) || is_pinned(p, bytes); };
    if (later(to) && later(from)) return enqueue(stream, copies, body);
    if (forbidden(of(stream))) return cudaErrorStreamCaptureUnsupported;
    ++device().counts[copies];
    ++device().counts[waits];  // memory that is not pinned
    run(of(stream));
    const Reach reach;
    body();
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
    return enqueue(stream, copies, [=] {
        check(to, bytes);
        std::memset(to, value, bytes);
    });
}

cudaError_t cudaMemset2DAsync(void* to, size_t pitch, int value, size_t width, size_t height,
                              cudaStream_t stream) {
    return enqueue(stream, copies, [=] {
        for (size_t row = 0; row < height; ++row) {
            check(static_cast<char*>(to) + row * pitch, width);
            std::memset(static_cast<char*>(to) + row * pitch, value, width);
        }
    });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    const Guard guard(device().lock);
    *stream = new FakeStream;
    device().streams[*stream] = true;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const Guard guard(device().lock);
    run(*stream);
    device().streams.erase(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const Guard guard(device().lock);
    if (forbidden(of(stream))) return cudaErrorStreamCaptureUnsupported;
    ++device().counts[waits];
    run(of(stream));
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    *status = of(stream).capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    const Guard guard(device().lock);
    if (!stream || stream->capture) return cudaErrorInvalidValue;
    stream->capture = new FakeGraph;
    stream->capturing = std::this_thread::get_id();
    stream->broken = false;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Guard guard(device().lock);
    if (!stream->capture || stream->capturing != std::this_thread::get_id()) return cudaErrorInvalidValue;
    *graph = std::exchange(stream->capture, nullptr);
    stream->capturing = {};
    if (!stream->broken) return cudaSuccess;
    delete std::exchange(*graph, nullptr);
    return cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
    *made = new FakeGraph(*graph);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    const std::vector<Work> work = graph->work;
    return enqueue(stream, kernels, [work] {
        for (const Work& next : work) next();
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    delete graph;
    return cudaSuccess;
}
