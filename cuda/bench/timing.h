// Time on a device: CUDA graphs of several launches between events.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "horosphere/horo.h"

constexpr int launches = 4, replays = 7;

inline void ok(cudaError_t code) {
    if (code == cudaSuccess) return;
    std::fprintf(stderr, "bench: %s\n", cudaGetErrorString(code));
    std::exit(1);
}

inline void ok_horo(int32_t status) {
    if (status == HORO_OK) return;
    std::fprintf(stderr, "bench: %s\n", horo_last_error());
    std::exit(1);
}

// Seconds per launch: the median replay of a graph of `launches` launches.
template <class Enqueue>
double seconds(cudaStream_t stream, Enqueue&& enqueue) {
    enqueue();  // loads the kernel, which a capture must not
    ok(cudaStreamSynchronize(stream));
    cudaGraph_t graph;
    cudaGraphExec_t run;
    ok(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < launches; ++i) enqueue();
    ok(cudaStreamEndCapture(stream, &graph));
    ok(cudaGraphInstantiate(&run, graph, 0));
    cudaEvent_t begin, end;
    ok(cudaEventCreate(&begin));
    ok(cudaEventCreate(&end));
    std::vector<double> times;
    for (int i = 0; i <= replays; ++i) {
        ok(cudaEventRecord(begin, stream));
        ok(cudaGraphLaunch(run, stream));
        ok(cudaEventRecord(end, stream));
        ok(cudaEventSynchronize(end));
        float ms = 0;
        ok(cudaEventElapsedTime(&ms, begin, end));
        if (i) times.push_back(ms * 1e-3 / launches);  // the first warms up
    }
    ok(cudaEventDestroy(begin));
    ok(cudaEventDestroy(end));
    ok(cudaGraphExecDestroy(run));
    ok(cudaGraphDestroy(graph));
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}
