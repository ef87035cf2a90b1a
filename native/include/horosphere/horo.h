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

/* ---- Row operations
 * ------------------------------------------------------------------------------------------ */

/* Every geometric operation on a batch of rows, forward or backward, goes through horo_row_op. What there is,
 * with which operands, is asked of the library: operations are numbered 0 .. horo_op_count() - 1, the numbers
 * hold for this library only, the names for ever. A gradient is an operation of its own: "<name>.vjp" takes
 * the inputs of <name> and the cotangent of its output and gives the gradients of all of them, and of the
 * parameters row by row. */
HORO_API int32_t horo_op_count(void);

/* Returns the operation's name, e.g. "poincare.mobius_add"; "" for a number out of range. Static storage. */
HORO_API const char* horo_op_name(int32_t op);

/* Returns the operands, e.g. "x:row y:row; c -> out:row": inputs; parameters -> outputs. A row has dim
 * elements, an ambient row a time coordinate and then dim elements, a scalar is one number per row. "" for a
 * number out of range. */
HORO_API const char* horo_op_signature(int32_t op);

/* Returns the formula, range and conventions in words; "" for a number out of range. Static storage. */
HORO_API const char* horo_op_doc(int32_t op);

/* Stores the number of the operation of that name. */
HORO_API int32_t horo_op_find(const char* name, int32_t* op);

/* Runs an operation on `rows` rows of dimension `dim`. All operands are of one storage type (HORO_F32 or
 * HORO_F64). Operands follow the signature; those beyond it are ignored. in*_stride, out*_stride: elements
 * from row to row, for a scalar from number to number; 0 in an input repeats one row. Parameters p0.. are
 * positive and finite. An output of a ".vjp" may be NULL if it is not wanted. An output may be the same rows
 * as an input of the same kind (in place); any other overlap is refused. All scalar mathematics is in double,
 * float64 rows with compensated dot products. */
HORO_API int32_t horo_row_op(int32_t op, int32_t dtype, int64_t rows, int64_t dim, const void* in0,
                             int64_t in0_stride, const void* in1, int64_t in1_stride, const void* in2,
                             int64_t in2_stride, const void* in3, int64_t in3_stride, void* out0,
                             int64_t out0_stride, void* out1, int64_t out1_stride, void* out2,
                             int64_t out2_stride, void* out3, int64_t out3_stride, double p0, double p1,
                             double p2, double p3, double p4, double p5, const horo_exec* exec);

#ifdef __cplusplus
}
#endif
#endif
