/*
 * Horosphere: the public C ABI.
 *
 * Conventions, for every function unless its own comment says otherwise:
 *  - Returns HORO_OK (0) or a negative status; the text of the last failure on this thread is
 * horo_last_error(). Nothing throws, aborts, prints, or touches the floating-point environment.
 *  - Only int32_t, int64_t, double and pointers cross the ABI. Sizes and strides are in elements, never
 * bytes.
 *  - The caller owns all memory. Pointers need the natural alignment of their element type, no more.
 *    An empty batch (rows == 0) succeeds and touches nothing.
 *  - `exec` says where and how to run; NULL is the CPU with the default number of threads.
 *    On the CPU every function may be called from any number of threads at once, and results are bitwise the
 * same for any thread count. Pointers belong to the memory of the exec's device.
 *  - Arithmetic is float32 or better whatever the storage type; NaN in a row stays in that row.
 */
#ifndef HOROSPHERE_HORO_H
#define HOROSPHERE_HORO_H

#include <stdint.h>

#if defined(__GNUC__)
#define HORO_API __attribute__((visibility("default")))
#else
#define HORO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version, status, errors
 * ------------------------------------------------------------------------------- */

#define HORO_ABI_VERSION 1

/* Status codes; values are never reused. */
#define HORO_OK 0
#define HORO_INVALID_ARGUMENT (-1)
#define HORO_UNSUPPORTED (-2)
#define HORO_OUT_OF_MEMORY (-3)
#define HORO_NO_DEVICE (-4)
#define HORO_INTERNAL (-5)

/* Storage types. */
#define HORO_F32 0
#define HORO_F64 1
#define HORO_BF16 2
#define HORO_F16 3

/* Returns HORO_ABI_VERSION of the loaded library. */
HORO_API int32_t horo_abi_version(void);

/* Returns the release, e.g. "0.1.0". Static storage. */
HORO_API const char* horo_version(void);

/* Returns the text of the last failure on the calling thread, "" if there was none. Valid until the thread's
 * next failing call. */
HORO_API const char* horo_last_error(void);

/* ---- Where to run
 * ------------------------------------------------------------------------------------------ */

typedef struct horo_exec horo_exec;

/* Creates an execution context. device: -1 is the CPU, n >= 0 the n-th CUDA device. threads: 0 is the default
 * (the cores this process may use, or HORO_THREADS); ignored on CUDA. stream: a cudaStream_t, ignored on the
 * CPU. Immutable, usable from any thread. HORO_NO_DEVICE with the reason if the device cannot be had. */
HORO_API int32_t horo_exec_create(int32_t device, int32_t threads, void* stream, horo_exec** exec);

/* Frees an execution context; NULL is ignored. */
HORO_API int32_t horo_exec_destroy(horo_exec* exec);

/* Returns the number of threads a CPU call with this exec uses at most. */
HORO_API int32_t horo_exec_threads(const horo_exec* exec);

/* Returns the instruction set in use: "avx512", "avx2" or "scalar". HORO_ISA=... in the environment at load
 * time asks for a lower one. Static storage. */
HORO_API const char* horo_cpu_isa(void);

#ifdef __cplusplus
}
#endif
#endif
