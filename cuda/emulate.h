// Runs a kernel on the host, for tests: each thread of a block is a fiber; a shuffle or barrier hands over to
// the next until all have arrived. Every access is checked for alignment and, once a test has named its
// memory, for bounds. Slow and exact, not fast.
#pragma once
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#define HORO_DEVICE inline
#define HORO_KERNEL(threads) void
#define HORO_CONSTANT const
#define HORO_ON_ACCESS(p, ...) ::horo::emulate::on_access(p, __VA_ARGS__)
#define __shared__ static

namespace horo::emulate {

struct Index {
    unsigned x;
};

inline void require_aligned(const void* p, size_t bytes) {
    if (reinterpret_cast<uintptr_t>(p) % bytes != 0) {
        std::fprintf(stderr, "access of %zu bytes at %p\n", bytes, p);
        std::abort();
    }
}

// What kernels may touch, from where to where; empty: anything.
inline std::map<uintptr_t, uintptr_t>& memory() {
    static std::map<uintptr_t, uintptr_t> ranges;
    return ranges;
}

inline void on_access(const void* p, size_t alignment, size_t bytes) {
    require_aligned(p, alignment);
    const uintptr_t begin = reinterpret_cast<uintptr_t>(p);
    const auto& ranges = memory();
    if (ranges.empty()) return;
    auto range = ranges.upper_bound(begin);
    if (range == ranges.begin() || (--range)->second < begin + bytes) {
        std::fprintf(stderr, "access of %zu bytes at %p, outside all memory of the call\n", bytes, p);
        std::abort();
    }
}
inline void on_access(const void* p, size_t bytes) { on_access(p, bytes, bytes); }

// Where launches go, a test's stream say; null: they run at once.
inline void (*submit)(void* stream, std::function<void()> work) = nullptr;

// ---- A stack of its own, and the switch between two

#if defined(__x86_64__)  // ucontext asks the kernel for the signal mask at every switch
class Fiber {
  public:
    void start(char* stack, size_t bytes, void (*entry)()) {
        uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15};
        void** frame = reinterpret_cast<void**>(top) - 10;  // six registers, where to begin, and alignment
        frame[6] = reinterpret_cast<void*>(entry);
        stack_ = frame;
    }
    static void change(Fiber& from, Fiber& to) { change_stack(&from.stack_, to.stack_); }

  private:
    __attribute__((naked, noinline)) static void change_stack(void**, void*) {
        asm("pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15;"
            "movq %rsp, (%rdi); movq %rsi, %rsp;"
            "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; ret");
    }
    void* stack_ = nullptr;
};
#else
class Fiber {
  public:
    void start(char* stack, size_t bytes, void (*entry)()) {
        getcontext(&context_);
        context_.uc_stack.ss_sp = stack;
        context_.uc_stack.ss_size = bytes;
        makecontext(&context_, entry, 0);
    }
    static void change(Fiber& from, Fiber& to) { swapcontext(&from.context_, &to.context_); }

  private:
    ucontext_t context_;
};
#endif

// One block at a time.
class Block {
  public:
    static Block& current() {
        static Block block;
        return block;
    }

    template <class Body>
    void run(unsigned index, unsigned count, Body&& body) {
        block_index = index;
        threads_.resize(count);
        lanes_.assign(count, 0);
        done_ = 0;
        static Body* entry;
        entry = &body;
        for (unsigned t = 0; t < count; ++t) {
            Thread& thread = threads_[t];
            if (!thread.stack) thread.stack = std::make_unique<char[]>(stack_bytes);
            thread.finished = false;
            thread.fiber.start(
                thread.stack.get(), stack_bytes, +[] {
                    (*entry)();
                    Block& block = current();
                    Thread& me = block.threads_[block.thread_index];
                    me.finished = true;
                    ++block.done_;
                    Fiber::change(me.fiber, block.scheduler_);
                });
        }
        while (done_ < count) {
            // A round takes every thread to its next meeting point; all must come to one of the same kind.
            const unsigned before = done_;
            for (unsigned t = 0; t < count; ++t) {
                thread_index = t;
                Fiber::change(scheduler_, threads_[t].fiber);
            }
            if (done_ != before && done_ != count)
                fail("some threads ended before a shuffle or barrier of others");
            for (const Thread& thread : threads_)
                if (!thread.finished && thread.kind != threads_[0].kind)
                    fail("threads wait for different things");
        }
    }

    // Gives a value to the other threads; returns that of thread `from` when all have given theirs.
    double exchange(double value, unsigned from) {
        meet(value);
        return lanes_read_[from];
    }
    void barrier() {
        Thread& me = threads_[thread_index];
        me.kind = 'b';
        Fiber::change(me.fiber, scheduler_);
    }

    unsigned block_index = 0, thread_index = 0;

  private:
    static constexpr size_t stack_bytes = 1 << 16;
    struct Thread {
        Fiber fiber;
        std::unique_ptr<char[]> stack;
        bool finished;
        char kind;
    };

    [[noreturn]] static void fail(const char* what) {
        std::fprintf(stderr, "%s\n", what);
        std::abort();
    }

    void meet(double value) {
        Thread& me = threads_[thread_index];
        me.kind = 's';
        lanes_[thread_index] = value;
        Fiber::change(me.fiber, scheduler_);
        // the first to go on publishes the round's values, before any thread gives its next
        if (thread_index == 0) lanes_read_ = lanes_;
    }

    Fiber scheduler_;
    std::vector<Thread> threads_;
    std::vector<double> lanes_, lanes_read_;
    unsigned done_ = 0;
};

}  // namespace horo::emulate

#define threadIdx (::horo::emulate::Index{::horo::emulate::Block::current().thread_index})
#define blockIdx (::horo::emulate::Index{::horo::emulate::Block::current().block_index})
#define gridDim (::horo::emulate::Index{::horo::cuda::emulated_grid})
#define __syncwarp() ::horo::emulate::Block::current().barrier()
#define __syncthreads() ::horo::emulate::Block::current().barrier()

namespace horo::cuda {
inline unsigned emulated_grid = 1;

inline double __shfl_sync(unsigned, double value, int from) {
    emulate::Block& block = emulate::Block::current();
    return block.exchange(value, (block.thread_index & ~31u) + (static_cast<unsigned>(from) & 31u));
}
inline double __shfl_xor_sync(unsigned, double value, int mask) {
    emulate::Block& block = emulate::Block::current();
    return block.exchange(value, block.thread_index ^ static_cast<unsigned>(mask));
}
}  // namespace horo::cuda
