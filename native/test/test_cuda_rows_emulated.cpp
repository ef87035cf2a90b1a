// The CUDA row kernel, compiled for the host and run thread by thread, against the CPU engine: which lane
// owns which elements, tails, widths of access, several rows per lane, warps that share a row, rows of
// several tiles. Says nothing of what nvcc makes of it.
#define HORO_EMULATE 1
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "horosphere/horo.h"
#include "row_kernel.cuh"
#include "storage.h"

namespace {

using namespace horo;
using namespace horo::cuda;

constexpr double canary = 12345;

int64_t width(Kind kind, int64_t dim) {
    return kind == Kind::row ? dim : kind == Kind::ambient ? dim + 1 : 1;
}

template <class Op, class T>
void launch_as(const RowCall& call, const RowPlan& plan, unsigned grid) {
    if (static_cast<int64_t>(grid) > plan.blocks) grid = static_cast<unsigned>(plan.blocks);
    emulated_grid = grid;
    for (unsigned block = 0; block < grid; ++block)
        emulate::Block::current().run(block, static_cast<unsigned>(plan.threads), [&] {
            if (plan.narrow)
                row_kernel<Op, T, NarrowTile<narrow_rows<Op>()>>(call, plan);
            else
                row_kernel<Op, T, WideTile<wide_vectors<Op>()>>(call, plan);
        });
}

template <class Op>
void launch(const RowCall& call, int32_t dtype, unsigned grid) {
    const RowPlan plan = plan_call<Op>(call, dtype);
    dtype == HORO_F64 ? launch_as<Op, double>(call, plan, grid) : launch_as<Op, float>(call, plan, grid);
}

// pad: elements between rows; offset: of the first from 16-byte alignment; in_place: output 0 in the input of
// its kind; repeat: the last input is one row.
struct Layout {
    int64_t pad, offset;
    bool in_place, repeat, only_first;
};

template <class Op, class Stored>
void compare(int64_t rows, int64_t dim, const Layout& layout, unsigned grid) {
    constexpr Signature s(Op::signature);
    std::mt19937 random(5);
    std::uniform_real_distribution<double> uniform(-1, 1);
    using T = typename Stored::Element;
    const T around = Stored::put(canary);
    std::vector<T> in[4], out[4], want[4];
    RowCall call{};
    call.rows = rows;
    call.dim = dim;
    for (double& p : call.param) p = 0.7;
    for (int i = 0; i < s.inputs; ++i) {
        const int64_t w = width(s.input[i], dim), stride = w + layout.pad;
        in[i].assign(layout.offset + rows * stride + 8, around);
        const double scale = 0.5 / std::sqrt(static_cast<double>(dim));
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t j = 0; j < w; ++j)
                in[i][layout.offset + r * stride + j] = Stored::put(uniform(random) * scale);
        call.in[i] = in[i].data() + layout.offset;
        call.in_stride[i] = layout.repeat && i == s.inputs - 1 ? 0 : stride;
    }
    for (int j = 0; j < s.outputs; ++j) {
        const int64_t stride = width(s.output[j], dim) + layout.pad;
        out[j].assign(layout.offset + rows * stride + 8, around);
        want[j] = out[j];
        call.out[j] = layout.only_first && j ? nullptr : out[j].data() + layout.offset;
        call.out_stride[j] = stride;
    }
    int32_t op = -1;
    CHECK(horo_op_find(Op::name, &op) == HORO_OK);
    const auto on_cpu = [&](std::vector<T>(&results)[4]) {
        void* o[4];
        for (int j = 0; j < 4; ++j) o[j] = call.out[j] ? results[j].data() + layout.offset : nullptr;
        const int32_t status = horo_row_op(
            op, Stored::dtype, rows, dim, call.in[0], call.in_stride[0], call.in[1], call.in_stride[1],
            call.in[2], call.in_stride[2], call.in[3], call.in_stride[3], o[0], call.out_stride[0], o[1],
            call.out_stride[1], o[2], call.out_stride[2], o[3], call.out_stride[3], call.param[0],
            call.param[1], call.param[2], call.param[3], call.param[4], call.param[5], nullptr);
        CHECK(status == HORO_OK, "%s: %s", Op::name, horo_last_error());
    };
    on_cpu(want);
    // The largest difference of a row of output j.
    const auto distance = [&](const std::vector<T>& a, const std::vector<T>& b, int j) {
        const int64_t w = width(s.output[j], dim), stride = w + layout.pad;
        double worst = 0;
        for (int64_t r = 0; r < rows; ++r) {
            double sum = 0;
            for (int64_t k = layout.offset + r * stride; k < layout.offset + r * stride + w; ++k)
                sum += (Stored::get(a[k]) - Stored::get(b[k])) * (Stored::get(a[k]) - Stored::get(b[k]));
            if (!(std::sqrt(sum) <= worst)) worst = std::sqrt(sum);
        }
        return worst;
    };
    // How far outputs move per relative change of an input: the scale of rounding errors where terms cancel.
    double sens[4] = {};
    for (int i = 0; i < s.inputs && Stored::dtype < HORO_BF16; ++i) {
        const double step = std::sqrt(Stored::epsilon);
        const std::vector<T> kept = in[i];
        for (T& x : in[i])
            if (x != around) x = Stored::put(Stored::get(x) * (1 + step));
        std::vector<T> moved[4] = {want[0], want[1], want[2], want[3]};
        on_cpu(moved);
        for (int j = 0; j < s.outputs; ++j)
            if (call.out[j]) sens[j] += distance(moved[j], want[j], j) / step;
        std::copy(kept.begin(), kept.end(), in[i].begin());
    }
    int in_place = -1;
    if (layout.in_place)
        for (int i = 0; i < s.inputs && in_place < 0; ++i)
            if (s.input[i] == s.output[0]) in_place = i;
    if (in_place >= 0) call.out[0] = const_cast<void*>(call.in[in_place]);
    launch<Op>(call, Stored::dtype, grid);
    for (int j = 0; j < s.outputs; ++j) {
        const int64_t w = width(s.output[j], dim), stride = w + layout.pad;
        const std::vector<T>& got = j == 0 && in_place >= 0 ? in[in_place] : out[j];
        int64_t wrong = 0;
        for (int64_t i = 0; i < static_cast<int64_t>(got.size()); ++i) {
            const int64_t at = i - layout.offset;
            const bool inside = call.out[j] && at >= 0 && at < rows * stride && at % stride < w;
            if (!inside) wrong += got[i] != around;
        }
        CHECK(wrong == 0, "%s: wrote %lld elements around output %d, dim %lld", Op::name, (long long)wrong, j,
              (long long)dim);
        // Sums are in another order: 8 ulps of the largest row and of what its inputs make of it; in 16 bits
        // only the rounding at the end may differ.
        if (!call.out[j]) continue;
        const double worst = distance(got, want[j], j);
        double largest = distance(want[j], std::vector<T>(want[j].size()), j) + sens[j];
        // On a line the part of a gradient across x is missing, and with it the scale of the rounding errors.
        if (dim == 1) largest = std::fmax(largest, 1);
        CHECK(worst <= (Stored::dtype < HORO_BF16 ? 8 : 1) * Stored::epsilon * largest,
              "%s: output %d, %lld rows, dim %lld, dtype %d, offset %lld, pad %lld: error %g of %g", Op::name,
              j, (long long)rows, (long long)dim, Stored::dtype, (long long)layout.offset,
              (long long)layout.pad, worst, largest);
    }
}

template <class Op, class Stored>
void shapes() {
    const int64_t dims[] = {1,  2,  3,  4,   5,   7,   8,   15,   16,   17,
                            31, 33, 64, 100, 128, 130, 300, 1000, 1025, 4100};
    for (int64_t dim : dims) {
        const int64_t rows = dim <= 16 ? 131 : dim <= 300 ? 9 : 3;
        compare<Op, Stored>(rows, dim, {0, 0, false, false, false}, 1 << 20);
        compare<Op, Stored>(rows, dim, {3, 1, true, false, false}, 1);
        compare<Op, Stored>(2, dim, {4, 2, false, true, std::strstr(Op::name, ".vjp") != nullptr}, 1);
    }
}

template <class Op>
void both() {
    shapes<Op, AsF32>();
    shapes<Op, AsF64>();
}
template <class Op>
void all_types() {
    both<Op>();
    shapes<Op, AsBf16>();
    shapes<Op, AsF16>();
}

// Every element of every row has exactly one owner, whatever the shape.
void owners() {
    for (int32_t dtype : {HORO_F32, HORO_F64, HORO_BF16, HORO_F16})
        for (int64_t dim = 1; dim < 9000; dim += dim < 600 ? 1 : 97)
            for (int narrow : {1, 2, 4})
                for (int wide : {2, 4})
                    for (int access = 1; access <= vector_elements(dtype); access *= 2) {
                        if (dim % access) continue;
                        const RowPlan plan = plan_rows(1000, dim, dtype, access, narrow, wide);
                        const int slots = (plan.narrow ? 1 : wide) * vector_elements(dtype);
                        std::vector<int> owned(static_cast<size_t>(dim));
                        for (int64_t tile = 0; tile < plan.tiles; ++tile)
                            for (int lane = 0; lane < plan.lanes; ++lane)
                                for (int slot = 0; slot < (slots < plan.slots ? slots : plan.slots); ++slot) {
                                    const int64_t in_tile =
                                        (int64_t{slot / access} * plan.lanes + lane) * access;
                                    const int64_t at = tile * plan.tile + in_tile + slot % access;
                                    if (at < dim) ++owned[static_cast<size_t>(at)];
                                }
                        bool once = true;
                        for (int n : owned) once &= n == 1;
                        CHECK(once && plan.slots <= slots &&
                                  plan.lanes * plan.rows <= plan.threads * narrow &&
                                  plan.blocks * plan.rows >= 1000 && (plan.blocks - 1) * plan.rows < 1000,
                              "dim %lld, dtype %d, access %d", (long long)dim, dtype, access);
                    }
}

}  // namespace

int main() {
    owners();
    all_types<poincare::MobiusAdd>();          // two inputs
    both<poincare::ExpmapVjp>();               // three inputs, optional outputs, a scalar output
    all_types<poincare::DistVjp>();            // a scalar input
    both<poincare::Dist>();                    // nothing to combine
    all_types<lorentz::RsgdMomentum>();        // time coordinates, compensated sums of float32
    both<Gradient<poincare::GeodesicUnit>>();  // a derived gradient, by a number too
    both<Apply<stereographic::Expmap>>();
    all_types<Gradient<lorentz::Geodesic>>();  // rows of 32 bits and less read once more
    return check_result();
}
