// A small process-wide thread pool. Work is cut into chunks by the caller, never by the number of threads, so
// results do not depend on how many there are.
#pragma once
#include <cstdint>

#include "abi/exec.h"

namespace horo {

// The cores this process may use, by its CPU quota too, or HORO_THREADS.
int32_t default_threads();

using ChunkFunction = void (*)(void* context, int64_t chunk);

// Runs function(context, c) for every c in [0, chunks), on at most `threads` threads including the caller's.
// A nested call, or one made while another thread holds the pool, runs on the calling thread alone.
// The function must not throw.
void run_chunks(int32_t threads, int64_t chunks, ChunkFunction function, void* context);

template <class F>
void parallel_for(const horo_exec& exec, int64_t chunks, F&& body) {
    run_chunks(
        exec.threads, chunks, [](void* context, int64_t chunk) { (*static_cast<F*>(context))(chunk); },
        &body);
}

}  // namespace horo
