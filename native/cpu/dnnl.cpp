#include "cpu/dnnl.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace horo {
namespace {

// What is used of oneDNN 3 (oneapi/dnnl/dnnl.h) and of the OpenMP runtime it brings.
struct Version {
    int major, minor, patch;
};
using Object = void*;
struct Argument {
    int index;
    Object memory;
};
constexpr int success = 0, out_of_memory = 1;
constexpr int engine_cpu = 1, stream_in_order = 1, bfloat16 = 2, float32 = 3, scratchpad_user = 1,
              query_scratchpad = 136;
constexpr int argument_src = 1, argument_dst = 17, argument_weights = 33, argument_scratchpad = 80;

struct Library {
    int (*sgemm)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*, int64_t,
                 float, float*, int64_t);
    int (*get_max_threads)();
    void (*set_num_threads)(int);

    // For bfloat16, which has no BLAS-like call; all or none of them.
    int (*engine_create)(Object*, int, size_t);
    int (*stream_create)(Object*, Object, unsigned);
    int (*stream_wait)(Object);
    int (*memory_desc_create_with_strides)(Object*, int, const int64_t*, int, const int64_t*);
    int (*memory_desc_destroy)(Object);
    size_t (*memory_desc_get_size)(Object);
    int (*primitive_attr_create)(Object*);
    int (*primitive_attr_destroy)(Object);
    int (*primitive_attr_set_scratchpad_mode)(Object, int);
    int (*primitive_attr_set_post_ops)(Object, Object);
    int (*post_ops_create)(Object*);
    int (*post_ops_destroy)(Object);
    int (*post_ops_append_sum)(Object, float, int32_t, int);
    int (*matmul_primitive_desc_create)(Object*, Object, Object, Object, Object, Object, Object);
    Object (*primitive_desc_query_md)(Object, int, int);
    int (*primitive_desc_destroy)(Object);
    int (*primitive_create)(Object*, Object);
    int (*primitive_destroy)(Object);
    int (*primitive_execute)(Object, Object, int, const Argument*);
    int (*memory_create)(Object*, Object, Object, void*);
    int (*memory_destroy)(Object);
    Object engine;  // null if one of them is missing
    char name[32];
};

Library storage;
std::atomic<const Library*> loaded{nullptr};  // set once, never unloaded
pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

template <class Function>
bool find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

bool find_bf16(void* library, Library& l) {
    return find(library, "dnnl_engine_create", l.engine_create) &&
           find(library, "dnnl_stream_create", l.stream_create) &&
           find(library, "dnnl_stream_wait", l.stream_wait) &&
           find(library, "dnnl_memory_desc_create_with_strides", l.memory_desc_create_with_strides) &&
           find(library, "dnnl_memory_desc_destroy", l.memory_desc_destroy) &&
           find(library, "dnnl_memory_desc_get_size", l.memory_desc_get_size) &&
           find(library, "dnnl_primitive_attr_create", l.primitive_attr_create) &&
           find(library, "dnnl_primitive_attr_destroy", l.primitive_attr_destroy) &&
           find(library, "dnnl_primitive_attr_set_scratchpad_mode", l.primitive_attr_set_scratchpad_mode) &&
           find(library, "dnnl_primitive_attr_set_post_ops", l.primitive_attr_set_post_ops) &&
           find(library, "dnnl_post_ops_create", l.post_ops_create) &&
           find(library, "dnnl_post_ops_destroy", l.post_ops_destroy) &&
           find(library, "dnnl_post_ops_append_sum", l.post_ops_append_sum) &&
           find(library, "dnnl_matmul_primitive_desc_create", l.matmul_primitive_desc_create) &&
           find(library, "dnnl_primitive_desc_query_md", l.primitive_desc_query_md) &&
           find(library, "dnnl_primitive_desc_destroy", l.primitive_desc_destroy) &&
           find(library, "dnnl_primitive_create", l.primitive_create) &&
           find(library, "dnnl_primitive_destroy", l.primitive_destroy) &&
           find(library, "dnnl_primitive_execute", l.primitive_execute) &&
           find(library, "dnnl_memory_create", l.memory_create) &&
           find(library, "dnnl_memory_destroy", l.memory_destroy);
}

const char* load_locked(const char* path) {
    if (loaded.load(std::memory_order_relaxed)) return nullptr;
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return dlerror();
    const Version* (*version)() = nullptr;
    if (!find(library, "dnnl_version", version) || !find(library, "dnnl_sgemm", storage.sgemm)) {
        dlclose(library);
        return "the file is not oneDNN: it has no dnnl_version and dnnl_sgemm";
    }
    // Symbols of a dependency are visible through the handle; a oneDNN without OpenMP has none, and needs
    // none.
    find(library, "omp_get_max_threads", storage.get_max_threads);
    find(library, "omp_set_num_threads", storage.set_num_threads);
    // the numbers above are those of version 3
    if (version()->major != 3 || !find_bf16(library, storage) ||
        storage.engine_create(&storage.engine, engine_cpu, 0) != success)
        storage.engine = nullptr;
    std::snprintf(storage.name, sizeof storage.name, "onednn %d.%d", version()->major, version()->minor);
    loaded.store(&storage, std::memory_order_release);
    return nullptr;
}

const Library& library() { return *loaded.load(std::memory_order_acquire); }

// Keeps OpenMP on the calling thread while it lives: the parallelism is ours.
class OneThread {
  public:
    explicit OneThread(const Library& l)
        : library_(l), before_(l.get_max_threads && l.set_num_threads ? l.get_max_threads() : 1) {
        if (before_ != 1) library_.set_num_threads(1);
    }
    ~OneThread() {
        if (before_ != 1) library_.set_num_threads(before_);
    }
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;

  private:
    const Library& library_;
    const int before_;
};

// An object of oneDNN, destroyed with its owner.
struct Owned {
    int (*destroy)(Object);
    Object object = nullptr;
    explicit Owned(int (*d)(Object)) : destroy(d) {}
    ~Owned() {
        if (object) destroy(object);
    }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
};

// What a thread keeps between calls.
struct PerThread {
    Object stream = nullptr;  // some hundred bytes, left to the process
    void* scratch = nullptr;
    size_t size = 0;
    ~PerThread() { std::free(scratch); }
};
thread_local PerThread per_thread;

int run_bf16(const Library& l, int64_t m, int64_t n, int64_t k, const uint16_t* a, int64_t a_row,
             int64_t a_col, const uint16_t* b, int64_t b_row, int64_t b_col, float beta, float* c,
             int64_t ldc) {
    int status = success;
    const auto ok = [&](int s) { return (status = s) == success; };
    Owned md_a(l.memory_desc_destroy), md_b(l.memory_desc_destroy), md_c(l.memory_desc_destroy);
    const int64_t a_dims[] = {m, k}, b_dims[] = {k, n}, c_dims[] = {m, n};
    const int64_t a_strides[] = {a_row, a_col}, b_strides[] = {b_row, b_col}, c_strides[] = {ldc, 1};
    if (!ok(l.memory_desc_create_with_strides(&md_a.object, 2, a_dims, bfloat16, a_strides)) ||
        !ok(l.memory_desc_create_with_strides(&md_b.object, 2, b_dims, bfloat16, b_strides)) ||
        !ok(l.memory_desc_create_with_strides(&md_c.object, 2, c_dims, float32, c_strides)))
        return status;
    Owned attributes(l.primitive_attr_destroy), after(l.post_ops_destroy);
    // Scratch of ours: with the library's own, one primitive must not run on two threads at once.
    if (!ok(l.primitive_attr_create(&attributes.object)) ||
        !ok(l.primitive_attr_set_scratchpad_mode(attributes.object, scratchpad_user)))
        return status;
    if (beta != 0 && (!ok(l.post_ops_create(&after.object)) ||
                      !ok(l.post_ops_append_sum(after.object, beta, 0, float32)) ||
                      !ok(l.primitive_attr_set_post_ops(attributes.object, after.object))))
        return status;
    Owned description(l.primitive_desc_destroy), primitive(l.primitive_destroy);
    if (!ok(l.matmul_primitive_desc_create(&description.object, l.engine, md_a.object, md_b.object, nullptr,
                                           md_c.object, attributes.object)) ||
        !ok(l.primitive_create(&primitive.object, description.object)))
        return status;
    Object md_scratch = l.primitive_desc_query_md(description.object, query_scratchpad, 0);
    const size_t bytes = md_scratch ? l.memory_desc_get_size(md_scratch) : 0;
    if (bytes > per_thread.size) {
        std::free(per_thread.scratch);
        per_thread.size = 0;
        per_thread.scratch = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
        if (!per_thread.scratch) return out_of_memory;
        per_thread.size = bytes;
    }
    if (!per_thread.stream && !ok(l.stream_create(&per_thread.stream, l.engine, stream_in_order)))
        return status;
    Owned mem_a(l.memory_destroy), mem_b(l.memory_destroy), mem_c(l.memory_destroy), mem_s(l.memory_destroy);
    if (!ok(l.memory_create(&mem_a.object, md_a.object, l.engine, const_cast<uint16_t*>(a))) ||
        !ok(l.memory_create(&mem_b.object, md_b.object, l.engine, const_cast<uint16_t*>(b))) ||
        !ok(l.memory_create(&mem_c.object, md_c.object, l.engine, c)))
        return status;
    if (bytes && !ok(l.memory_create(&mem_s.object, md_scratch, l.engine, per_thread.scratch))) return status;
    const Argument arguments[] = {{argument_src, mem_a.object},
                                  {argument_weights, mem_b.object},
                                  {argument_dst, mem_c.object},
                                  {argument_scratchpad, mem_s.object}};
    if (!ok(l.primitive_execute(primitive.object, per_thread.stream, bytes ? 4 : 3, arguments)))
        return status;
    return l.stream_wait(per_thread.stream);
}

}  // namespace

const char* load_dnnl(const char* path) {
    pthread_mutex_lock(&loading);
    const char* reason = load_locked(path);
    pthread_mutex_unlock(&loading);
    return reason;
}

const char* dnnl_name() {
    const Library* l = loaded.load(std::memory_order_acquire);
    return l ? l->name : nullptr;
}

bool dnnl_has_bf16() {
    const Library* l = loaded.load(std::memory_order_acquire);
    return l && l->engine;
}

int dnnl_f32(int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t a_row, int64_t a_col,
             const float* b, int64_t b_row, int64_t b_col, float beta, float* c, int64_t ldc) {
    const OneThread guard(library());
    // where both strides are 1, one extent is 1 and its stride is free
    const bool trans_a = a_col != 1, trans_b = b_col != 1;
    const int64_t lda = trans_a ? a_col : a_row < k ? k : a_row;
    const int64_t ldb = trans_b ? b_col : b_row < n ? n : b_row;
    return library().sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c,
                           ldc);
}

int dnnl_bf16(int64_t m, int64_t n, int64_t k, const uint16_t* a, int64_t a_row, int64_t a_col,
              const uint16_t* b, int64_t b_row, int64_t b_col, float beta, float* c, int64_t ldc) {
    const OneThread guard(library());
    return run_bf16(library(), m, n, k, a, a_row, a_col, b, b_row, b_col, beta, c, ldc);
}

}  // namespace horo
