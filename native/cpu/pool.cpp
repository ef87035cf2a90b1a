#include "cpu/pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "cpu/quota.h"

namespace horo {
namespace {

// Plain pthread primitives: a failed thread creation must degrade to fewer threads, not throw.
class Pool {
  public:
    void run(int32_t threads, int64_t chunks, ChunkFunction function, void* context) {
        const int64_t helpers = (threads < chunks ? threads : chunks) - 1;
        if (helpers < 1 || inside_ || pthread_mutex_trylock(&owner_) != 0) {
            for (int64_t c = 0; c < chunks; ++c) function(context, c);
            return;
        }
        grow(static_cast<int32_t>(helpers));
        pthread_mutex_lock(&lock_);
        function_ = function;
        context_ = context;
        chunks_ = chunks;
        next_.store(0, std::memory_order_relaxed);
        wanted_ = helpers < size_ ? static_cast<int32_t>(helpers) : size_;
        running_ = 0;
        ++epoch_;
        pthread_cond_broadcast(&work_);
        pthread_mutex_unlock(&lock_);
        inside_ = true;
        drain();
        inside_ = false;
        pthread_mutex_lock(&lock_);
        wanted_ = 0;  // workers that have not woken by now are not needed
        while (running_ > 0) pthread_cond_wait(&done_, &lock_);
        pthread_mutex_unlock(&lock_);
        pthread_mutex_unlock(&owner_);
    }

  private:
    void grow(int32_t size) {
        while (size_ < size) {
            pthread_t thread;
            if (pthread_create(&thread, nullptr, &Pool::worker, this) != 0) return;
            pthread_detach(thread);
            ++size_;
        }
    }

    void drain() {
        for (int64_t c; (c = next_.fetch_add(1, std::memory_order_relaxed)) < chunks_;)
            function_(context_, c);
    }

    static void* worker(void* self) {
        static_cast<Pool*>(self)->serve();
        return nullptr;
    }

    void serve() {
        inside_ = true;
        uint64_t seen = 0;
        pthread_mutex_lock(&lock_);
        for (;;) {
            while (epoch_ == seen || wanted_ == 0) {
                seen = epoch_;
                pthread_cond_wait(&work_, &lock_);
            }
            seen = epoch_;
            --wanted_;
            ++running_;
            pthread_mutex_unlock(&lock_);
            drain();
            pthread_mutex_lock(&lock_);
            if (--running_ == 0) pthread_cond_signal(&done_);
        }
    }

    pthread_mutex_t owner_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t work_ = PTHREAD_COND_INITIALIZER;
    pthread_cond_t done_ = PTHREAD_COND_INITIALIZER;
    uint64_t epoch_ = 0;
    int32_t size_ = 0;
    int32_t wanted_ = 0;
    int32_t running_ = 0;
    int64_t chunks_ = 0;
    std::atomic<int64_t> next_{0};
    ChunkFunction function_ = nullptr;
    void* context_ = nullptr;
    static thread_local bool inside_;
};

thread_local bool Pool::inside_ = false;

}  // namespace

int32_t default_threads() {
    static const int32_t threads = [] {
        if (const char* text = std::getenv("HORO_THREADS")) {
            char* end;
            const long asked = std::strtol(text, &end, 10);
            if (*end == 0 && asked >= 1 && asked <= 1024) return static_cast<int32_t>(asked);
        }
        cpu_set_t set;
        CPU_ZERO(&set);
        const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
        return static_cast<int32_t>(std::clamp<int64_t>(cpu_quota(), 1, std::max(1, cores)));
    }();
    return threads;
}

void run_chunks(int32_t threads, int64_t chunks, ChunkFunction function, void* context) {
    static Pool& pool = *new Pool;  // never destroyed: its threads live as long as the process
    pool.run(threads, chunks, function, context);
}

}  // namespace horo
