#include "cpu/sets.h"

#include "cpu/isa.h"
#include "cpu/pool.h"

namespace horo {
namespace {

const SetKernel& kernel() {
    static const SetKernel& table = select(scalar::set_kernel, avx2::set_kernel, avx512::set_kernel);
    return table;
}

const ConcatKernel& concat_kernel() {
    static const ConcatKernel& table =
        select(scalar::concat_kernel, avx2::concat_kernel, avx512::concat_kernel);
    return table;
}

const LinearKernel& linear_kernel() {
    static const LinearKernel& table =
        select(scalar::linear_kernel, avx2::linear_kernel, avx512::linear_kernel);
    return table;
}

const PairsKernel& pairs_kernel() {
    static const PairsKernel& table = select(scalar::pairs_kernel, avx2::pairs_kernel, avx512::pairs_kernel);
    return table;
}

int64_t chunks_of(int64_t rows) { return (rows + linear_chunk - 1) / linear_chunk; }

// body(begin, end) for all rows, in chunks that depend on their width only
template <class Body>
void in_chunks(const horo_exec& exec, int64_t rows, int64_t width, Body&& body) {
    constexpr int64_t chunk_elements = 16384;
    const int64_t chunk = width < chunk_elements ? chunk_elements / width : 1;
    parallel_for(exec, (rows + chunk - 1) / chunk, [&](int64_t c) {
        const int64_t end = (c + 1) * chunk;
        body(c * chunk, end < rows ? end : rows);
    });
}

// Sets that are cut: each phase is done by all parts, or rows, before the next begins.
struct CutSets {
    const FrechetTask& task;
    const SetParts& phases;
    const horo_exec& exec;
    const int64_t parts = task.set.parts();

    // of the rows where that number of the set is so
    void each(SetParts::Part phase, int number, double is = 0) const {
        parallel_for(exec, task.set.rows * parts, [&](int64_t c) {
            const int64_t row = c / parts;
            if (at(row, number) == is) phase(task, row, c % parts);
        });
    }
    void rows(SetParts::Row phase, int number, double is = 0) const {
        parallel_for(exec, task.set.rows, [&](int64_t row) {
            if (at(row, number) == is) phase(task, row);
        });
    }
    double& at(int64_t row, int number) const { return task.set.numbers(row, -1)[number]; }
    void set(int number, double to) const {
        for (int64_t row = 0; row < task.set.rows; ++row) at(row, number) = to;
    }
    bool any(int number) const {
        for (int64_t row = 0; row < task.set.rows; ++row)
            if (at(row, number) == 0) return true;
        return false;
    }
    void centre(bool exact, int number = slot_state) const {
        each(exact ? phases.exact_sum : phases.sum, number);
        rows(phases.total, number);
        if (!exact) return;
        each(phases.deficit, number);
        rows(phases.total_deficit, number);
    }
    bool plain() const { return phases.plain_sum && task.set.dim <= plain_most; }

    // Means in plain doubles, as far as these go; the rest begins anew where slot_settled is 0. What follows
    // the means can be plain where slot_lost is 0.
    void plain_means() const {
        each(phases.plain_start, slot_state);
        rows(phases.plain_start_total, slot_state);
        do {
            each(phases.plain_step, slot_state);
            rows(phases.plain_judge, slot_state);
        } while (any(slot_state));
        for (int64_t row = 0; row < task.set.rows; ++row) {
            double &state = at(row, slot_state), &steps = at(row, slot_steps);
            at(row, slot_settled) = state != -2;
            if (state == -2) steps = 0;
            if (state == -2 || (state > 0 && task.tolerance < plain_step)) state = 0;
            at(row, slot_lost) = state == 0;
        }
    }

    // Variances and gradients of the sets where slot_lost is `lost`.
    void follow(bool vjp, bool lost) const {
        for (int64_t row = 0; row < task.set.rows; ++row)
            at(row, slot_settled) = (at(row, slot_lost) != 0) != lost;
        const auto each_part = [&](SetParts::Part exact, SetParts::Part in_doubles, int number, double is) {
            each(lost ? exact : in_doubles, number, is);
            if (!lost) rows(phases.plain_lost, number, is);
        };
        if (lost && plain()) centre(true, slot_settled);  // of some the sum is plain
        if (vjp) {
            rows(phases.cotangent, slot_settled);
            while (any(slot_settled)) {
                each_part(phases.addend, phases.plain_addend, slot_settled, 0);
                rows(phases.next_cotangent, slot_settled);
            }
        }
        if (task.variance || task.g_variance) {
            each_part(phases.variance, phases.plain_variance, slot_lost, lost);
            rows(phases.variance_out, slot_lost, lost);
        }
        if (vjp) {
            each_part(phases.frechet_gradient, phases.plain_frechet_gradient, slot_lost, lost);
            rows(phases.curvature, slot_lost, lost);
        }
    }
};

}  // namespace

void midpoint(int32_t model, int32_t dtype, const MidpointTask& task, bool vjp, const horo_exec& exec) {
    const auto run = (vjp ? kernel().midpoint_vjp : kernel().midpoint)[model][dtype];
    if (task.parts() > 1) {
        FrechetTask whole = {};
        whole.set = task;
        const SetParts& phases = kernel().parts[model][dtype];
        const CutSets sets{whole, phases, exec};
        sets.set(slot_state, 0);
        if (sets.plain()) {
            sets.each(phases.plain_sum, slot_state);
            sets.rows(phases.plain_total, slot_state);
            if (vjp) {
                sets.each(phases.plain_gradient, slot_state, 1);
                sets.rows(phases.plain_curvature, slot_state, 1);
            }
        }
        if (sets.any(slot_state)) sets.centre(vjp || sets.plain() || phases.sum == phases.exact_sum);
        if (vjp) {
            sets.each(phases.gradient, slot_state);
            sets.rows(phases.curvature, slot_state);
            return;
        }
    }
    in_chunks(exec, task.rows, task.dim * task.k, [&](int64_t begin, int64_t end) { run(task, begin, end); });
}

void frechet(int32_t model, int32_t dtype, const FrechetTask& task, bool vjp, const horo_exec& exec) {
    if (task.set.parts() == 1) {
        const auto run = (vjp ? kernel().frechet_vjp : kernel().frechet)[model][dtype];
        in_chunks(exec, task.set.rows, task.set.dim * task.set.k,
                  [&](int64_t begin, int64_t end) { run(task, begin, end); });
        return;
    }
    const SetParts& phases = kernel().parts[model][dtype];
    const CutSets sets{task, phases, exec};
    sets.set(slot_state, 0);
    sets.set(slot_steps, 0);
    sets.set(slot_settled, 0);
    sets.set(slot_lost, 1);
    if (sets.plain()) sets.plain_means();
    sets.each(phases.start, slot_settled);
    for (sets.centre(true); sets.any(slot_state);) {
        sets.each(phases.step, slot_state);
        sets.centre(true);
        sets.rows(phases.judge, slot_state);
    }
    sets.set(slot_settled, 0);  // for all rows
    if (!vjp) sets.rows(phases.out, slot_settled);
    if (vjp || task.variance) {
        if (sets.plain()) sets.follow(vjp, false);
        sets.follow(vjp, true);
    }
    for (int64_t row = 0; row < task.set.rows && task.iterations; ++row) {
        const double n = sets.at(row, slot_state);
        task.iterations[row] = static_cast<int32_t>(n < 0 || !vjp ? n : n + sets.at(row, slot_steps));
    }
}

void cdist(int32_t model, int32_t dtype, const PairsTask& task, const horo_exec& exec) {
    const auto run = pairs_kernel().forward[model][dtype];
    const int64_t across = (task.y.count + pairs_columns - 1) / pairs_columns;
    parallel_for(exec, (task.x.count + pairs_tile - 1) / pairs_tile * across, [&](int64_t chunk) {
        run(task, chunk / across * pairs_tile, chunk % across * pairs_columns);
    });
}

void cdist_vjp(int32_t model, int32_t dtype, const PairsTask& task, const horo_exec& exec) {
    const auto run = pairs_kernel().vjp[model][dtype];
    // as many rows as fit what the kernel holds, depending on dim alone
    int64_t rows = 8192 / ((task.dim + 7) & ~int64_t{7});
    rows = rows < 1 ? 1 : rows > pairs_tile ? pairs_tile : rows;
    parallel_for(exec, (task.x.count + rows - 1) / rows, [&](int64_t chunk) {
        const int64_t first = chunk * rows, left = task.x.count - first;
        run(task, first, left < rows ? left : rows);
    });
}

void concat(int32_t model, int32_t dtype, const ConcatTask& task, bool split, bool vjp,
            const horo_exec& exec) {
    const ConcatKernel& table = concat_kernel();
    const auto& by_model =
        split ? (vjp ? table.split_vjp : table.split) : (vjp ? table.concat_vjp : table.concat);
    in_chunks(exec, task.rows, task.dim,
              [&, run = by_model[model == model_lorentz][dtype]](int64_t begin, int64_t end) {
                  run(task, begin, end);
              });
}

const LinearShape& linear_shape(int32_t op) { return linear_kernel().shape[op]; }

int64_t linear_workspace(int32_t op, int64_t rows, int64_t p) {
    const LinearShape& shape = linear_shape(op);
    const int64_t partial = shape.bias || shape.normed ? 2 * p * chunks_of(rows) : 0;
    return 8 * (rows * p + 2 * rows + partial);  // rows once more for CUDA
}

void linear(int32_t op, int32_t dtype, const LinearTask& task, const horo_exec& exec) {
    const auto run = linear_kernel().forward[op][dtype];
    parallel_for(exec, chunks_of(task.rows), [&](int64_t chunk) { run(task, chunk); });
}

void linear_vjp(int32_t op, int32_t dtype, LinearTask task, double* workspace, const horo_exec& exec) {
    task.cotangents = workspace;
    task.times = workspace + task.rows * task.p;
    task.partial = task.times + task.rows;
    const auto rows = linear_kernel().vjp_rows[op][dtype];
    parallel_for(exec, chunks_of(task.rows), [&](int64_t chunk) { rows(task, chunk); });
    if (!task.g_m && !task.g_bias) return;
    const auto columns = linear_kernel().vjp_columns[op][dtype];
    constexpr int64_t block = 32;
    parallel_for(exec, (task.p + block - 1) / block, [&](int64_t c) {
        const int64_t end = (c + 1) * block;
        columns(task, c * block, end < task.p ? end : task.p);
    });
}

}  // namespace horo
