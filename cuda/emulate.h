// Runs a kernel on the host, for tests: each thread of a block is a fiber; a shuffle or barrier hands over to
// the next until all of the warp, or of the block, have arrived. A warp runs until it meets the others. Every
// access is checked for alignment and, once a test has named its memory, for bounds. Slow and exact, not
// fast. Built with -fsanitize=thread, each thread of a block is one to the sanitizer, too, ordered with the
// others by barriers alone (shuffles and votes order no memory): it finds what compute-sanitizer's racecheck
// would.
#pragma once
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <type_traits>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_write16(void*);
// Not part of the kernel, so what it touches is none of the sanitizer's business.
#define HORO_UNSEEN __attribute__((no_sanitize("thread"), noinline))
#define HORO_SANITIZER(...) __VA_ARGS__
#else
#define HORO_UNSEEN
#define HORO_SANITIZER(...)
#endif

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
    HORO_UNSEEN static void change(Fiber& from, Fiber& to) {
        HORO_SANITIZER(__tsan_switch_to_fiber(to.known_as, __tsan_switch_to_fiber_no_sync);)
        change_stack(&from.stack_, to.stack_);
    }
    HORO_SANITIZER(void* known_as = nullptr;)

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
    HORO_UNSEEN static void change(Fiber& from, Fiber& to) {
        HORO_SANITIZER(__tsan_switch_to_fiber(to.known_as, __tsan_switch_to_fiber_no_sync);)
        swapcontext(&from.context_, &to.context_);
    }
    HORO_SANITIZER(void* known_as = nullptr;)

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
        std::fill(shared.begin(), shared.end(), '\xff');
        count_ = count;
        done_ = 0;
        HORO_SANITIZER(scheduler_.known_as = __tsan_get_current_fiber();)
        body_ = &body;
        call_ = [](void* of) { (*static_cast<std::remove_reference_t<Body>*>(of))(); };
        for (unsigned t = 0; t < count; ++t) {
            Thread& thread = threads_[t];
            if (!thread.stack) thread.stack = std::make_unique<char[]>(stack_bytes);
            HORO_SANITIZER(if (!thread.fiber.known_as) thread.fiber.known_as = __tsan_create_fiber(0);)
            thread.given = thread.votes = 0;
            HORO_SANITIZER(thread.meetings[0] = thread.meetings[1] = 0;)
            thread.copies.clear();
            thread.groups.clear();
            thread.fiber.start(thread.stack.get(), stack_bytes, live);
        }
        HORO_SANITIZER(__tsan_release(&begun_);)
        while (done_ < count) {
            const unsigned before = done_;
            for (unsigned first = 0; first < count; first += 32) run_warp(first, std::min(count, first + 32));
            if (done_ != before && done_ != count) fail("some threads ended before a barrier of others");
        }
        HORO_SANITIZER(__tsan_acquire(&done_);)
    }

    HORO_UNSEEN static unsigned this_thread() { return current().thread_index; }

    // Gives a number to the warp; returns that of thread `from` when all have given theirs.
    double exchange(double value, unsigned from) {
        give(&value, sizeof value);
        return given<double>(from);
    }
    void barrier() { meet(true, true); }
    void warp_barrier() { meet(false, true); }
    // The barrier of the block, and whether any thread came with true.
    HORO_UNSEEN bool barrier_or(bool value) {
        Thread& me = threads_[thread_index];
        const unsigned at = ++me.votes % 2;
        me.vote[at] = value;
        barrier();
        bool any = false;
        for (unsigned t = 0; t < count_; ++t) any |= threads_[t].vote[at];
        return any;
    }

    // Gives up to 32 bytes to the warp; what each thread gave stays until its next gift but one.
    HORO_UNSEEN void give(const void* gift, size_t bytes) {
        Thread& me = threads_[thread_index];
        char* to = me.gifts[++me.given % 2];
        for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<const char*>(gift)[i];
        meet(false, false);
    }
    // The i-th number of what a thread gave.
    template <class T>
    HORO_UNSEEN T given(unsigned thread, size_t i = 0) const {
        T value;
        std::memcpy(&value, threads_[thread].gifts[threads_[thread_index].given % 2] + i * sizeof value,
                    sizeof value);
        return value;
    }

    // Copies that happen as late as they may.
    void copy_later(void* to, const void* from, size_t bytes) {
        HORO_SANITIZER(__tsan_write16(to);)  // or as early
        threads_[this_thread()].copies.push_back({to, from, bytes});
    }
    void commit_copies() {
        Thread& me = threads_[this_thread()];
        me.groups.push_back(me.copies.size());
    }
    void finish_copies(size_t pending) {
        Thread& me = threads_[this_thread()];
        if (me.groups.size() <= pending) return;
        const size_t groups = me.groups.size() - pending, count = me.groups[groups - 1];
        for (size_t i = 0; i < count; ++i)
            if (const Copy& c = me.copies[i]; c.from)
                std::memcpy(c.to, c.from, c.bytes);
            else
                std::memset(c.to, 0, c.bytes);
        me.copies.erase(me.copies.begin(), me.copies.begin() + static_cast<int64_t>(count));
        me.groups.erase(me.groups.begin(), me.groups.begin() + static_cast<int64_t>(groups));
        for (size_t& end : me.groups) end -= count;
    }

    // Shared memory of which a launch says the size, with NaN in it.
    std::vector<char> shared;

    unsigned block_index = 0, thread_index = 0;

  private:
    struct Copy {
        void* to;
        const void* from;
        size_t bytes;
    };
    static constexpr size_t stack_bytes = 1 << 16;
    struct Thread {
        Fiber fiber;
        std::unique_ptr<char[]> stack;
        bool of_block = false;  // whom it waits for
        unsigned given = 0, votes = 0;
        HORO_SANITIZER(unsigned meetings[2] = {}; char warp_order[2] = {};)
        bool vote[2] = {};
        char gifts[2][32] = {};
        std::vector<Copy> copies;
        std::vector<size_t> groups;
    };

    [[noreturn]] static void fail(const char* what) {
        std::fprintf(stderr, "%s\n", what);
        std::abort();
    }

    // A thread from its first step on. It never returns, so the sanitizer must not count it as entered.
    HORO_UNSEEN static void live() {
        Block& block = current();
        HORO_SANITIZER(__tsan_acquire(&block.begun_);)
        block.call_(block.body_);
        HORO_SANITIZER(__tsan_release(&block.done_);)
        ++block.done_;
        Fiber::change(block.threads_[block.thread_index].fiber, block.scheduler_);
    }

    // Takes a warp from one meeting to the next, in which all its threads must be, up to one of the block.
    void run_warp(unsigned first, unsigned last) {
        for (;;) {
            const unsigned before = done_;
            for (thread_index = first; thread_index < last; ++thread_index)
                Fiber::change(scheduler_, threads_[thread_index].fiber);
            if (done_ == before + last - first) return;
            if (done_ != before) fail("some threads ended before a shuffle or barrier of others");
            for (unsigned t = first; t < last; ++t)
                if (threads_[t].of_block != threads_[first].of_block)
                    fail("threads of a warp wait for different things");
            if (threads_[first].of_block) return;
        }
    }

    // ordered: what was written before it is there for all of them after it.
    HORO_UNSEEN void meet(bool of_block, [[maybe_unused]] bool ordered) {
        Thread& me = threads_[thread_index];
        me.of_block = of_block;
        // in turns two, for some have met again before others know that they have met
        HORO_SANITIZER(char* const order = of_block ? block_order_ : threads_[thread_index & ~31u].warp_order;
                       char* const at = order + ++me.meetings[of_block] % 2; if (ordered) __tsan_release(at);)
        Fiber::change(me.fiber, scheduler_);
        HORO_SANITIZER(if (ordered) __tsan_acquire(at);)
    }

    HORO_SANITIZER(char begun_ = 0, block_order_[2] = {};)
    Fiber scheduler_;
    Thread threads_[1024];
    unsigned count_ = 0, done_ = 0;
    void* body_ = nullptr;
    void (*call_)(void*) = nullptr;
};

}  // namespace horo::emulate

#define threadIdx (::horo::emulate::Index{::horo::emulate::Block::this_thread()})
#define blockIdx (::horo::emulate::Index{::horo::emulate::Block::current().block_index})
#define gridDim (::horo::emulate::Index{::horo::cuda::emulated_grid})
#define __syncwarp() ::horo::emulate::Block::current().warp_barrier()
#define __syncthreads() ::horo::emulate::Block::current().barrier()

namespace horo::cuda {
inline unsigned emulated_grid = 1;

inline double __shfl_sync(unsigned, double value, int from) {
    emulate::Block& block = emulate::Block::current();
    return block.exchange(value, (block.this_thread() & ~31u) + (static_cast<unsigned>(from) & 31u));
}
inline double __shfl_xor_sync(unsigned, double value, int mask) {
    emulate::Block& block = emulate::Block::current();
    return block.exchange(value, block.this_thread() ^ static_cast<unsigned>(mask));
}
inline int __any_sync(unsigned, int value) {
    emulate::Block& block = emulate::Block::current();
    block.give(&value, sizeof value);
    int any = 0;
    for (unsigned lane = 0; lane < 32; ++lane) any |= block.given<int>((block.this_thread() & ~31u) + lane);
    return any;
}
inline int __syncthreads_or(int value) { return emulate::Block::current().barrier_or(value != 0); }
}  // namespace horo::cuda
