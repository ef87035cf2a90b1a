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

/* ---- CUDA devices, their memory and streams
 * ------------------------------------------------------------------------------------------
 * libhorosphere_cuda.so is opened beside libhorosphere.so (or in HORO_BACKEND_DIR) when a device is first
 * asked for; HORO_DISABLE_CUDA=1 keeps it closed. Without a usable device every function here but the first
 * two returns HORO_NO_DEVICE with the reason. The calling thread's current CUDA device is as before on
 * return. Streams are cudaStream_t of any origin on that device; NULL is the default stream. */

/* Stores the number of CUDA devices that can be used (compute capability 8.0 or more); 0 if there is none. */
HORO_API int32_t horo_device_count(int32_t* count);

/* Returns why horo_device_count gives 0, "" if it does not. Static storage. */
HORO_API const char* horo_device_reason(void);

/* Stores the device's name, cut to size - 1 bytes, and a terminating zero. */
HORO_API int32_t horo_device_name(int32_t device, void* text, int32_t size);

/* Stores how many bytes of the device's memory are free and how many there are. */
HORO_API int32_t horo_device_memory(int32_t device, int64_t* free_bytes, int64_t* total_bytes);

/* Allocates memory of a device, aligned to 256 bytes or more; HORO_OUT_OF_MEMORY if there is not enough. */
HORO_API int32_t horo_device_allocate(int32_t device, int64_t bytes, void** address);

/* Frees memory of horo_device_allocate, after all work of the device that was enqueued before; NULL is
 * ignored.
 */
HORO_API int32_t horo_device_free(int32_t device, void* address);

/* Copies between host and device or within a device, after all that was enqueued on the stream, and waits for
 * it: when it returns, the bytes are there. */
HORO_API int32_t horo_device_copy(int32_t device, void* to, const void* from, int64_t bytes, void* stream);

/* Enqueues the same copy and returns; host memory must be of horo_pinned_allocate and stay as it is until the
 * copy has run. */
HORO_API int32_t horo_device_copy_async(int32_t device, void* to, const void* from, int64_t bytes,
                                        void* stream);

/* Allocates host memory that copies may read and write while the host goes on. */
HORO_API int32_t horo_pinned_allocate(int32_t device, int64_t bytes, void** address);

/* Frees memory of horo_pinned_allocate; NULL is ignored. */
HORO_API int32_t horo_pinned_free(int32_t device, void* address);

/* Sets `bytes` bytes to `value` (0 to 255) after all that was enqueued on the stream; does not wait. */
HORO_API int32_t horo_device_fill(int32_t device, void* address, int32_t value, int64_t bytes, void* stream);

/* Creates a stream that does not wait for the default stream. */
HORO_API int32_t horo_stream_create(int32_t device, void** stream);

/* Destroys a stream of horo_stream_create; what is enqueued on it still runs. NULL is ignored. */
HORO_API int32_t horo_stream_destroy(int32_t device, void* stream);

/* Waits until all that was enqueued on the stream has run, and reports what failed in it. */
HORO_API int32_t horo_stream_synchronize(int32_t device, void* stream);

/* Begins to record what is enqueued on the stream, not the default one, instead of running it, until the same
 * thread calls horo_stream_end_capture. Meanwhile that thread must not wait for the stream, allocate or free:
 * this is refused, and CUDA may give up the recording. What kernels read by address is read anew by every
 * launch; numbers passed by value are those of the recording. */
HORO_API int32_t horo_stream_begin_capture(int32_t device, void* stream);

/* Ends the recording, whatever the status, and stores it as a CUDA graph, ready to be launched. */
HORO_API int32_t horo_stream_end_capture(int32_t device, void* stream, void** graph);

/* Enqueues all of a graph on a stream; the memory it was recorded with must still be there. */
HORO_API int32_t horo_graph_launch(int32_t device, void* graph, void* stream);

/* Destroys a graph of horo_stream_end_capture; launches that are enqueued still run. NULL is ignored. */
HORO_API int32_t horo_graph_destroy(int32_t device, void* graph);

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

/* Runs an operation on `rows` rows of dimension `dim`. All operands are of one storage type; HORO_BF16 and
 * HORO_F16 are widened exactly, computed as float32 rows are, and rounded to nearest even at the end (error
 * at most 1 ulp of the storage type; NaN stays NaN). Operands follow the signature; those beyond it are
 * ignored. in*_stride, out*_stride: elements from row to row, for a scalar from number to number; 0 in an
 * input repeats one row. Parameters p0.. are positive and finite, `:any` ones finite, `:unit` in (0, 1). An
 * output of a ".vjp" may be NULL, or have the stride HORO_NOT_WANTED, if it is not wanted. An output may be
 * the same rows as an input of the same kind (in place); any other overlap is refused. All scalar mathematics
 * is in double, float64 rows with compensated dot products. */
#define HORO_NOT_WANTED (-1)
HORO_API int32_t horo_row_op(int32_t op, int32_t dtype, int64_t rows, int64_t dim, const void* in0,
                             int64_t in0_stride, const void* in1, int64_t in1_stride, const void* in2,
                             int64_t in2_stride, const void* in3, int64_t in3_stride, void* out0,
                             int64_t out0_stride, void* out1, int64_t out1_stride, void* out2,
                             int64_t out2_stride, void* out3, int64_t out3_stride, double p0, double p1,
                             double p2, double p3, double p4, double p5, const horo_exec* exec);

/* ---- Sets of points
 * ------------------------------------------------------------------------------------------ */

/* Models of hyperbolic space. `curvature` is c of the ball and of the Klein model (curvature -c, points of
 * dim elements with sqrt(c)|x| < 1), K of the Lorentz model (curvature -1/K, points of dim + 1 elements, time
 * first; the time a point stores is not read, and its gradient is 0). Results are exact given the inputs as
 * stored, up to the rim; docs/geometry.md has formulas and error bounds. Any storage type, one for all
 * operands; arithmetic in float64 or better, results rounded to nearest even. Gradients are those of sum(g *
 * out); any of them may be NULL. Outputs must not overlap inputs or each other. */
#define HORO_POINCARE 0
#define HORO_LORENTZ 1
#define HORO_KLEIN 2

/* out[r] = the weighted midpoint of the k points x[r, 0..k): with their vectors X in Minkowski space and S =
 * sum_i w_i X_i, the point S / |S|. That is the gyromidpoint of the ball, the Einstein midpoint of the Klein
 * model, the centroid of the Lorentz model. x: (rows, k) points, rows x_row_stride (0: one set for all rows)
 * and points x_point_stride elements apart; w: rows of k numbers, w_row_stride apart, NULL for equal weights.
 * Weights may have any sign and scale as long as S is timelike; where it is not (all weights 0, say) the row
 * is NaN. out: (rows) points. workspace: NULL, or of horo_midpoint_workspace, alignment 8; with it the points
 * of few large sets are summed in parts, by several threads or blocks, without it a set is the work of one;
 * results differ in their last bits. */
HORO_API int32_t horo_midpoint(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim,
                               const void* x, int64_t x_row_stride, int64_t x_point_stride, const void* w,
                               int64_t w_row_stride, double curvature, void* out, int64_t out_stride,
                               void* workspace, int64_t workspace_bytes, const horo_exec* exec);

/* The gradients of horo_midpoint. g: (rows) cotangents, g_stride apart; g_x as x with strides of its own, all
 * rows apart; g_w: (rows, k); g_curvature: one number per row. */
HORO_API int32_t horo_midpoint_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim,
                                   const void* x, int64_t x_row_stride, int64_t x_point_stride, const void* w,
                                   int64_t w_row_stride, double curvature, const void* g, int64_t g_stride,
                                   void* g_x, int64_t g_x_row_stride, int64_t g_x_point_stride, void* g_w,
                                   int64_t g_w_row_stride, void* g_curvature, void* workspace,
                                   int64_t workspace_bytes, const horo_exec* exec);

/* Stores in *bytes the workspace with which horo_midpoint and its gradient cut large sets into parts, 0 where
 * there are none. */
HORO_API int32_t horo_midpoint_workspace(int64_t rows, int64_t k, int64_t dim, int64_t* bytes);

/* out[i, j] = dist(x_i, y_j), its square if squared != 0: x (n) and y (m)
 * points, out n rows of m numbers. Differences are formed before they are squared, so close points are exact;
 * nothing larger than a tile is held. */
HORO_API int32_t horo_cdist(int32_t model, int32_t dtype, int64_t n, int64_t m, int64_t dim, const void* x,
                            int64_t x_stride, const void* y, int64_t y_stride, double curvature,
                            int32_t squared, void* out, int64_t out_stride, const horo_exec* exec);

/* The gradients of horo_cdist; zero where x_i = y_j. g: n rows of m numbers; g_curvature: n numbers, each the
 * sum over a row. */
HORO_API int32_t horo_cdist_vjp(int32_t model, int32_t dtype, int64_t n, int64_t m, int64_t dim,
                                const void* x, int64_t x_stride, const void* y, int64_t y_stride,
                                double curvature, int32_t squared, const void* g, int64_t g_stride, void* g_x,
                                int64_t g_x_stride, void* g_y, int64_t g_y_stride, void* g_curvature,
                                const horo_exec* exec);

/* out[r] = the Frechet mean of the k points x[r, 0..k): the point of least sum_i w_i dist(out, x_i)^2;
 * operands as horo_midpoint, weights 0 or more. Midpoints with weights w_i d_i/sinh(d_i), d_i the distance
 * over the radius, are taken again and again (A. Lou et al., "Differentiating through the Frechet Mean"
 * (2020)) until one moves by at most `tolerance` radii, or max_iterations times. variance: sum_i w_i dist^2 /
 * sum_i w_i, one number per row, or NULL; iterations: how many were taken, one per row, or NULL; a row that
 * did not get there has -1. workspace: of horo_frechet_workspace, alignment 8. */
HORO_API int32_t horo_frechet_mean(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim,
                                   const void* x, int64_t x_row_stride, int64_t x_point_stride, const void* w,
                                   int64_t w_row_stride, double curvature, double tolerance,
                                   int32_t max_iterations, void* out, int64_t out_stride, void* variance,
                                   int32_t* iterations, void* workspace, int64_t workspace_bytes,
                                   const horo_exec* exec);

/* The gradients of horo_frechet_mean: of its out against g, by the implicit function theorem (the mean is
 * found again in float64, then the linear equation of the gradient is solved by the same iteration), and of
 * its variance against g_variance, one number per row; either of the two may be NULL. g etc. as
 * horo_midpoint_vjp; iterations as above, for all together. */
HORO_API int32_t horo_frechet_mean_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t k, int64_t dim,
                                       const void* x, int64_t x_row_stride, int64_t x_point_stride,
                                       const void* w, int64_t w_row_stride, double curvature,
                                       double tolerance, int32_t max_iterations, const void* g,
                                       int64_t g_stride, const void* g_variance, void* g_x,
                                       int64_t g_x_row_stride, int64_t g_x_point_stride, void* g_w,
                                       int64_t g_w_row_stride, void* g_curvature, int32_t* iterations,
                                       void* workspace, int64_t workspace_bytes, const horo_exec* exec);

/* Stores in *bytes the workspace of horo_frechet_mean, and of its gradient if vjp != 0. */
HORO_API int32_t horo_frechet_workspace(int64_t rows, int64_t k, int64_t dim, int32_t vjp, int64_t* bytes);

/* Several points as one. x: rows of `parts` points side by side, the i-th of dims[i] dimensions, x_stride
 * elements from row to row; out: one point of dim = sum dims[i] dimensions per row. dims are always on the
 * host; a CUDA device takes at most 224 parts.
 *  - HORO_POINCARE, HORO_KLEIN: the beta-concatenation of HNN++ (arXiv 2006.08210): expmap0([v_1 ..
 * v_parts]), v_i = logmap0(x_i) B(dim/2, 1/2) / B(dims[i]/2, 1/2), B the beta function.
 *  - HORO_LORENTZ: the space parts side by side and their time, t^2 = sum t_i^2 - (parts - 1) K. */
HORO_API int32_t horo_concat(int32_t model, int32_t dtype, int64_t rows, int64_t parts, const int64_t* dims,
                             const void* x, int64_t x_stride, double curvature, void* out, int64_t out_stride,
                             const horo_exec* exec);

/* The gradients of horo_concat: g as out, g_x as x, g_curvature one number per row. */
HORO_API int32_t horo_concat_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t parts,
                                 const int64_t* dims, const void* x, int64_t x_stride, double curvature,
                                 const void* g, int64_t g_stride, void* g_x, int64_t g_x_stride,
                                 void* g_curvature, const horo_exec* exec);

/* The inverse of horo_concat: x is one point per row, out its parts side by side. */
HORO_API int32_t horo_split(int32_t model, int32_t dtype, int64_t rows, int64_t parts, const int64_t* dims,
                            const void* x, int64_t x_stride, double curvature, void* out, int64_t out_stride,
                            const horo_exec* exec);

/* The gradients of horo_split. */
HORO_API int32_t horo_split_vjp(int32_t model, int32_t dtype, int64_t rows, int64_t parts,
                                const int64_t* dims, const void* x, int64_t x_stride, double curvature,
                                const void* g, int64_t g_stride, void* g_x, int64_t g_x_stride,
                                void* g_curvature, const horo_exec* exec);

/* Maps of points by a matrix m of p rows, m_stride apart (the layers of hyperbolic networks), with P_k =
 * <m_k, x> and r_k = bias_k. bias: p numbers, NULL for zeros. A row m_k = 0 gives 0 in MLR, and gradient 0.
 *  - HORO_MOBIUS_MATVEC: ball to ball of dimension p: expmap0(m logmap0(x)). No bias.
 *  - HORO_POINCARE_MLR: ball to p logits of HNN++ (arXiv 2006.08210): 2|m_k|/sqrt(c) asinh((2 sqrt(c)
 *    P_k/|m_k| cosh(2 sqrt(c) r_k) - (1 + c|x|^2) sinh(2 sqrt(c) r_k)) / (1 - c|x|^2)).
 *  - HORO_POINCARE_DIST2PLANE: the same over 2|m_k|: p signed distances to the hyperplanes of normal m_k
 *    through expmap0(r_k m_k/|m_k|).
 *  - HORO_POINCARE_FC: ball to ball of dimension p: w / (1 + sqrt(1 + c|w|^2)), w_k = sinh(sqrt(c) v_k) /
 *    sqrt(c), v the logits; sqrt(c)|v_k| beyond 350 as at 350.
 *  - HORO_LORENTZ_LINEAR: hyperboloid to hyperboloid of dimension p: space part m x + bias, m of dim + 1
 *    columns, the first against the time (arXiv 2105.14686), the time recomputed.
 *  - HORO_LORENTZ_MLR: hyperboloid to p logits: |m_k| sqrt(K) asinh((cosh(q) P_k/|m_k| - sinh(q) x0) /
 *    sqrt(K)), q = r_k/sqrt(K), P_k of the space parts (arXiv 2303.15919).
 *  - HORO_LORENTZ_DIST2PLANE: the same over |m_k|: p signed distances. */
#define HORO_MOBIUS_MATVEC 0
#define HORO_POINCARE_MLR 1
#define HORO_POINCARE_DIST2PLANE 2
#define HORO_POINCARE_FC 3
#define HORO_LORENTZ_LINEAR 4
#define HORO_LORENTZ_MLR 5
#define HORO_LORENTZ_DIST2PLANE 6

/* Inner products in float64: relative error of a result at most a few units of its type, plus what its
 * conditioning makes of one. */
HORO_API int32_t horo_linear(int32_t op, int32_t dtype, int64_t rows, int64_t dim, int64_t p, const void* x,
                             int64_t x_stride, const void* m, int64_t m_stride, const void* bias,
                             double curvature, void* out, int64_t out_stride, const horo_exec* exec);

/* The gradients of horo_linear: g_x and g_curvature row by row, g_m and g_bias summed over the rows. */
HORO_API int32_t horo_linear_vjp(int32_t op, int32_t dtype, int64_t rows, int64_t dim, int64_t p,
                                 const void* x, int64_t x_stride, const void* m, int64_t m_stride,
                                 const void* bias, double curvature, const void* g, int64_t g_stride,
                                 void* g_x, int64_t g_x_stride, void* g_m, int64_t g_m_stride, void* g_bias,
                                 void* g_curvature, void* workspace, int64_t workspace_bytes,
                                 const horo_exec* exec);

/* Stores in *bytes the workspace of horo_linear_vjp; its alignment is 8. */
HORO_API int32_t horo_linear_workspace(int32_t op, int64_t rows, int64_t p, int64_t* bytes);

/* ---- Transformer layers, float32, rows contiguous
 * ------------------------------------------------------------------------------------------
 * Ids, targets and positions are checked before anything is written; on a CUDA device, where the host does
 * not see them, an id, target or position out of range gives NaN in the row of its token (in
 * horo_embedding_backward: nothing), and nothing outside the operands is touched. "dx +=" adds to what is
 * there. */

/* out[r,i] = weight[i] * x[r,i] * rstd[r], rstd[r] = 1 / sqrt(mean_i x[r,i]^2 + eps) (Zhang and Sennrich,
 * arXiv 1910.07467). x, out: (rows, dim); rstd: rows values for the backward pass, or NULL. out may be x. */
HORO_API int32_t horo_rmsnorm_forward(const float* x, const float* weight, double eps, int64_t rows,
                                      int64_t dim, float* out, float* rstd, const horo_exec* exec);

/* dx += rstd * w * dout - x * rstd^3 / dim * sum_i(dout_i w_i x_i); dweight += sum_r dout * x * rstd, unless
 * dweight is NULL. x is the input of the forward pass. */
HORO_API int32_t horo_rmsnorm_backward(const float* dout, const float* x, const float* weight,
                                       const float* rstd, int64_t rows, int64_t dim, float* dx,
                                       float* dweight, const horo_exec* exec);

/* out[r,i] = weight[i] * (x[r,i] - mean[r]) * rstd[r] + bias[i], rstd[r] = 1 / sqrt(variance of the row +
 * eps), the variance divided by dim (Ba et al., arXiv 1607.06450). x, out: (rows, dim); mean, rstd: rows
 * values for the backward pass, each may be NULL. out may be x. */
HORO_API int32_t horo_layernorm_forward(const float* x, const float* weight, const float* bias, double eps,
                                        int64_t rows, int64_t dim, float* out, float* mean, float* rstd,
                                        const horo_exec* exec);

/* With g = w * dout and h = (x - mean) * rstd: dx += rstd * (g - mean_i g_i - h * mean_i(g_i h_i)); dweight
 * += sum_r dout * h and dbias += sum_r dout, unless NULL. x is the input of the forward pass. */
HORO_API int32_t horo_layernorm_backward(const float* dout, const float* x, const float* weight,
                                         const float* mean, const float* rstd, int64_t rows, int64_t dim,
                                         float* dx, float* dweight, float* dbias, const horo_exec* exec);

/* Rotary embedding in place (Su et al., arXiv 2104.09864; pairs (i, i + D/2) as in Llama checkpoints):
 * (a, b) -> (a cos - b sin, b cos + a sin). x: token t, head h at x + t * row_stride + h * head_dim.
 * cos_sin: (position_count, head_dim), the first half of a row cosines, the second sines. inverse != 0: the
 * transpose, which is the backward pass. */
HORO_API int32_t horo_rope(float* x, int64_t tokens, int64_t row_stride, int64_t heads, int64_t head_dim,
                           const float* cos_sin, int64_t position_count, const int32_t* positions,
                           int32_t inverse, const horo_exec* exec);

/* out = gate * sigmoid(gate) * up (Shazeer, arXiv 2002.05202). out may be gate or up. */
HORO_API int32_t horo_swiglu_forward(const float* gate, const float* up, float* out, int64_t n,
                                     const horo_exec* exec);

/* With s = sigmoid(gate): dup = dout * gate * s, dgate = dout * up * s * (1 + gate * (1 - s)), both
 * overwritten; each may be one of the inputs. */
HORO_API int32_t horo_swiglu_backward(const float* dout, const float* gate, const float* up, float* dgate,
                                      float* dup, int64_t n, const horo_exec* exec);

/* out = gate * sigmoid(z) * up with z = sqrt(8 / pi) * (gate + 0.044715 gate^3): GEGLU (Shazeer, arXiv
 * 2002.05202) with the tanh form of GELU (Hendrycks and Gimpel, arXiv 1606.08415), 0.5 x (1 + tanh(z / 2)) =
 * x sigmoid(z). Relative error up to 1e-6 + 2e-7 |z|, except where the result is below the normal range. out
 * may be gate or up. */
HORO_API int32_t horo_geglu_forward(const float* gate, const float* up, float* out, int64_t n,
                                    const horo_exec* exec);

/* With s = sigmoid(z): dup = dout * gate * s, dgate = dout * up * s * (1 + gate * (1 - s) * dz/dgate), both
 * overwritten; each may be one of the inputs. */
HORO_API int32_t horo_geglu_backward(const float* dout, const float* gate, const float* up, float* dgate,
                                     float* dup, int64_t n, const horo_exec* exec);

/* out = x * Phi(x), Phi the normal distribution function: GELU (Hendrycks and Gimpel, arXiv 1606.08415) in
 * its exact form, 0.5 x (1 + erf(x / sqrt 2)), without the cancellation of that form where x is negative.
 * Relative error up to 1e-6 for all x, except where the result is below the normal range. out may be x. */
HORO_API int32_t horo_gelu_forward(const float* x, float* out, int64_t n, const horo_exec* exec);

/* dx = dout * (Phi(x) + x * phi(x)), phi the normal density; overwritten. dx may be dout or x. */
HORO_API int32_t horo_gelu_backward(const float* dout, const float* x, float* dx, int64_t n,
                                    const horo_exec* exec);

/* y[r,i] += bias[i]. y: (rows, dim). */
HORO_API int32_t horo_bias_add(const float* bias, int64_t rows, int64_t dim, float* y, const horo_exec* exec);

/* dbias[i] += sum_r dy[r,i], the gradient of horo_bias_add; blocks of 64 rows in float32, the blocks in
 * double. */
HORO_API int32_t horo_bias_grad(const float* dy, int64_t rows, int64_t dim, float* dbias,
                                const horo_exec* exec);

/* out = x * scale, column by column; out may be x. x, out: (rows, dim), scale: (dim). */
HORO_API int32_t horo_column_scale(const float* scale, int64_t rows, int64_t dim, const float* x, float* out,
                                   const horo_exec* exec);

/* dscale += sum over rows of dy * x, the gradient of horo_column_scale; summed as in horo_bias_grad. */
HORO_API int32_t horo_column_scale_grad(const float* dy, const float* x, int64_t rows, int64_t dim,
                                        float* dscale, const horo_exec* exec);

/* The lengths of the rows of W + scaling B A and DoRA's factors (Liu et al., arXiv 2402.09353):
 * norms[j] = |w_j + scaling b_j A|, of squares[j] = |w_j|^2, cross = A W^T and gram = A A^T, in double;
 * inverse[j] = 1 / norms[j] and ratio[j] = lengths[j] / norms[j], where a length of 0 counts as 1. Outputs
 * that are not wanted are null, and lengths without ratio. squares, lengths, outputs: (out), cross: (r, out),
 * gram: (r, r), b: (out, r). */
HORO_API int32_t horo_row_lengths(int64_t out, int64_t r, double scaling, const double* squares,
                                  const float* cross, const float* gram, const float* b, const float* lengths,
                                  float* norms, float* inverse, float* ratio, const horo_exec* exec);

/* out[t] = table[ids[t]] as float32. table: (vocab, dim), stored as table_type; out: (tokens, dim). */
HORO_API int32_t horo_embedding_forward(const int32_t* ids, int32_t table_type, const void* table,
                                        int64_t tokens, int64_t vocab, int64_t dim, float* out,
                                        const horo_exec* exec);

/* dtable[ids[t]] += dout[t], in the order of t. */
HORO_API int32_t horo_embedding_backward(const int32_t* ids, const float* dout, int64_t tokens, int64_t vocab,
                                         int64_t dim, float* dtable, const horo_exec* exec);

/* losses[t] = logsumexp(logits[t]) - logits[t, targets[t]]; 0 where targets[t] < 0. Unless gradient_scale is
 * NULL, logits becomes *gradient_scale * (softmax(logits) - onehot(target)), 0 in ignored rows; otherwise it
 * is only read. logits: (tokens, vocab). Exponentials of float32 after the maximum is subtracted, summed in
 * double. */
HORO_API int32_t horo_cross_entropy(float* logits, const int32_t* targets, int64_t tokens, int64_t vocab,
                                    float* losses, const float* gradient_scale, const horo_exec* exec);

/* out = x + y; out may be x or y. */
HORO_API int32_t horo_add(const float* x, const float* y, float* out, int64_t n, const horo_exec* exec);

/* y += a x, a rounded to float32. */
HORO_API int32_t horo_axpy(double a, const float* x, float* y, int64_t n, const horo_exec* exec);

/* x *= a, a rounded to float32. */
HORO_API int32_t horo_scale(double a, float* x, int64_t n, const horo_exec* exec);

/* Returns the sum of squares, accumulated in double; NaN with horo_last_error() set if an argument is
 * invalid, or exec a CUDA device, which would have to be waited for. */
HORO_API double horo_sum_squares(const float* x, int64_t n, const horo_exec* exec);

/* *total += the sum of squares, accumulated in double; workspace: 256 doubles. On a CUDA device both are its
 * memory and nothing waits, so that a training step can clip its gradient (horo_adamw_clipped) without the
 * host. */
HORO_API int32_t horo_sum_squares_add(const float* x, int64_t n, double* total, double* workspace,
                                      const horo_exec* exec);

/* One step of AdamW (Loshchilov and Hutter, arXiv 1711.05101), as torch.optim.AdamW computes it; step counts
 * from 1, m and v start at zero:
 * g = grad_scale * grad; param *= 1 - lr * weight_decay; m += (1 - beta1) (g - m); v = beta2 v + (1 - beta2)
 * g^2; param -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps). Scalars are combined in
 * double, elements in float32. */
HORO_API int32_t horo_adamw(float* param, const float* grad, float* m, float* v, int64_t n, double lr,
                            double beta1, double beta2, double eps, double weight_decay, int64_t step,
                            double grad_scale, const horo_exec* exec);

/* Stores what horo_adamw_clipped reads of a step, HORO_ADAMW_SCALARS numbers in host memory; the arguments
 * are those of horo_adamw. */
#define HORO_ADAMW_SCALARS 8
HORO_API int32_t horo_adamw_scalars(double lr, double beta1, double beta2, double eps, double weight_decay,
                                    int64_t step, double grad_scale, float* scalars);

/* As horo_adamw, with the gradient clipped to a norm: with norm = |grad_scale| sqrt(*sum_squares), grad_scale
 * is multiplied by max_norm / norm where norm is larger. scalars: of horo_adamw_scalars; sum_squares: of the
 * whole gradient before grad_scale; both memory of the exec's device, so that a captured CUDA graph can be
 * launched for step after step. max_norm > 0. Where *sum_squares is not finite nothing is changed. */
HORO_API int32_t horo_adamw_clipped(float* param, const float* grad, float* m, float* v, int64_t n,
                                    const float* scalars, const double* sum_squares, double max_norm,
                                    const horo_exec* exec);

/* y = e^x in double: the values of numbers that are trained as logarithms, a few at a time. */
HORO_API int32_t horo_exp_forward(const float* x, double* y, int64_t n, const horo_exec* exec);

/* dx += dy * y, y of horo_exp_forward; the sum is rounded once. */
HORO_API int32_t horo_exp_backward(const double* dy, const double* y, float* dx, int64_t n,
                                   const horo_exec* exec);

/* dst = src as float32; `from` is HORO_F32, .... Exact except from float64, which rounds to nearest even. */
HORO_API int32_t horo_convert_to_f32(int32_t from, const void* src, float* dst, int64_t n,
                                     const horo_exec* exec);

/* dst = src as `to`, rounded to nearest even; NaN stays NaN, what is too large becomes infinity. */
HORO_API int32_t horo_convert_from_f32(const float* src, int32_t to, void* dst, int64_t n,
                                       const horo_exec* exec);

/* ---- Matrix products
 * ------------------------------------------------------------------------------------------ */

/* Opens oneDNN (libdnnl.so.3) as the provider of matrix products on the CPU, for the life of the process;
 * once one is open, further calls succeed and do nothing. HORO_UNSUPPORTED with the linker's reason on
 * failure. */
HORO_API int32_t horo_gemm_load(const char* path);

/* Returns what computes matrix products: "onednn 3.11" (its version) or "built-in". */
HORO_API const char* horo_gemm_provider(void);

/* C = alpha op(A) op(B) + beta C, row-major. op(A): (m, k), op(B): (k, n), C: (m, n); op transposes if
 * trans_a / trans_b is not 0. lda, ldb, ldc: distance between rows as stored. With beta == 0 C is not read. C
 * must not overlap A or B. C is float32. With a_type HORO_F32, B is stored as b_type, HORO_F32, HORO_BF16 or
 * HORO_F16, and becomes float32 on its way to the registers: the arithmetic is float32 throughout. With both
 * HORO_BF16, products of bfloat16 numbers, which are exact, are summed in float32 by the instructions that
 * the processor has for it, where the provider knows any; alpha must be 1. The provider is asked for equal
 * types; others go to the built-in kernel. Cut into tiles that depend on the shape only, on our own threads:
 * the provider starts none. On a CUDA device cuBLASLt 13 or 12 computes it, found by the dynamic linker or by
 * its file in HORO_CUBLASLT (HORO_UNSUPPORTED with the linker's reason if it is not): HORO_F32 without TF32,
 * HORO_BF16, or a float32 A, split into three bfloat16 matrices, by a bfloat16 B; sums in float32 and in one
 * order, so that the same call on the same kind of device gives the same bits. The first product of a stream
 * allocates 32 MiB that its later ones share, a split A larger than any before 1.5 times A or twice what it
 * had, whichever is more (all freed by horo_stream_destroy), so they must come before a capture into a CUDA
 * graph. */
HORO_API int32_t horo_gemm(int32_t trans_a, int32_t trans_b, int64_t m, int64_t n, int64_t k, double alpha,
                           int32_t a_type, const void* a, int64_t lda, int32_t b_type, const void* b,
                           int64_t ldb, double beta, float* c, int64_t ldc, const horo_exec* exec);

/* ---- Attention
 * -------------------------------------------------------------------------------------------- */

/*
 * Softmax attention, optionally with its maps mixed over the heads (Coeff-Tuning, arXiv 2503.18337):
 *   P_i = softmax(scale * q_i k_g(i)^T + mask),   out_h = (P_h + sum_i alpha[h][i] P_i) v_g(h),
 *   g(h) = h / (heads / kv_heads)   (grouped-query attention).
 *  - dtype: HORO_F32, HORO_F64, HORO_BF16 or HORO_F16, of q, k, v, out and their gradients. alpha, dalpha and
 *    lse have it too, except that they are float32 beside 16 bits. With 16 bits sums are float32. On the CPU
 *    nothing else is rounded until a result is whole; on a CUDA device the maps and their gradients are
 *    rounded to dtype where they enter a product (docs/gpu-status.md has the error; HORO_F16: their range is
 *    float16's, too).
 *  - q and out: batch x q_len x heads x head_dim; k and v: batch x kv_len x kv_heads x head_dim; each with
 *    strides between batch items, tokens and heads, head_dim contiguous. kv_heads divides heads. scale > 0.
 *  - alpha: heads x heads, row-major, the first index the output head, without the identity. NULL: no mix.
 *    alpha == 0 gives the bits of NULL as long as no map holds a NaN or an infinity (not with 16 bits on a
 * CUDA device, where NULL has a kernel of its own).
 *  - causal: non-zero lets query row r see the keys j <= r + kv_len - q_len (aligned at the end, as a key
 *    cache needs it).
 *  - lengths: one per batch item; keys >= lengths[b] are neither seen nor read. NULL: all keys. On a CUDA
 *    device the host does not see them: one out of range counts as 0 or kv_len.
 *  - lse: batch x heads x q_len, contiguous: log(sum exp(scale * score)) of every row; NULL if not wanted.
 *    A row that sees no key has out = 0 and lse = -infinity.
 *  - workspace: at least the bytes that horo_attention_workspace names for the same sizes; any alignment.
 *  - out, lse and workspace must not overlap each other or any input.
 *  - A NaN in query row r stays in row r; a NaN in a key or value reaches the rows that see it.
 */
HORO_API int32_t horo_attention_forward(const horo_exec* exec, int32_t dtype, int64_t batch, int64_t heads,
                                        int64_t kv_heads, int64_t q_len, int64_t kv_len, int64_t head_dim,
                                        const void* q, int64_t q_batch_stride, int64_t q_token_stride,
                                        int64_t q_head_stride, const void* k, int64_t k_batch_stride,
                                        int64_t k_token_stride, int64_t k_head_stride, const void* v,
                                        int64_t v_batch_stride, int64_t v_token_stride, int64_t v_head_stride,
                                        const void* alpha, double scale, int32_t causal,
                                        const int32_t* lengths, void* out, int64_t out_batch_stride,
                                        int64_t out_token_stride, int64_t out_head_stride, void* lse,
                                        void* workspace, int64_t workspace_bytes);

/*
 * The gradients of sum(dout * out), from the inputs of the forward call; the maps are computed again.
 *  - lse: of the forward call. Where whole rows are held (today everywhere) it is not read and may be NULL.
 *  - dout has the strides of out.
 *  - dq, dk, dv have the strides of q, k, v and are overwritten (their elements, not what lies between).
 *  - dalpha: heads x heads, as a parameter's gradient it is added to; summed in double, rounded once. NULL if
 *    and only if alpha is NULL.
 */
HORO_API int32_t horo_attention_backward(const horo_exec* exec, int32_t dtype, int64_t batch, int64_t heads,
                                         int64_t kv_heads, int64_t q_len, int64_t kv_len, int64_t head_dim,
                                         const void* q, int64_t q_batch_stride, int64_t q_token_stride,
                                         int64_t q_head_stride, const void* k, int64_t k_batch_stride,
                                         int64_t k_token_stride, int64_t k_head_stride, const void* v,
                                         int64_t v_batch_stride, int64_t v_token_stride,
                                         int64_t v_head_stride, const void* alpha, double scale,
                                         int32_t causal, const int32_t* lengths, const void* lse,
                                         const void* dout, int64_t out_batch_stride, int64_t out_token_stride,
                                         int64_t out_head_stride, void* dq, void* dk, void* dv, void* dalpha,
                                         void* workspace, int64_t workspace_bytes);

/* Stores in *bytes the workspace of a call with these sizes. mixed: non-zero if alpha will be given;
 * backward: non-zero for horo_attention_backward. It grows with exec's threads, and linearly with kv_len. */
HORO_API int32_t horo_attention_workspace(const horo_exec* exec, int32_t dtype, int64_t batch, int64_t heads,
                                          int64_t kv_heads, int64_t q_len, int64_t kv_len, int64_t head_dim,
                                          int32_t mixed, int32_t backward, int64_t* bytes);

/* ---- Low-rank adapters
 * ------------------------------------------------------------------------------------ */

/* Kinds of low-rank adapter. */
#define HORO_LORA 0
#define HORO_HYPLORA 1
#define HORO_HYPLORA_RELEASED 2
#define HORO_HYPLORA_SIMPLIFIED 3

/*
 * gram = b^T b: b is k x r row-major, gram r x r row-major in float64 whatever dtype (HORO_F32 or HORO_F64)
 * says b is. It depends on the weights alone: compute it once per update of b.
 */
HORO_API int32_t horo_gram(const horo_exec* exec, int32_t dtype, int64_t k, int64_t r, const void* b,
                           double* gram);

/*
 * A low-rank adapter on top of a linear layer, token by token: out_t += scaling * g_t * b (a x_t).
 *  - HORO_LORA: g = 1.
 *  - HORO_HYPLORA (arXiv 2410.04010): lift to the hyperboloid of curvature -1/K, transform, come back, which
 *    is LoRA times one number per token: with q = sqrt(K), t = |x|/(s q), m = |b a x|:
 *    g = q asinh(m sinh(t)/|x|)/m. s = 1 is the paper. Evaluated in float64 without clamps, in log space for
 *    large t; what leaves the range of float64 saturates at its largest number. K > 0, s > 0.
 *  - HORO_HYPLORA_RELEASED: what the authors' released code computes instead, for adapters trained with it:
 *    with n = max(|x|, 1e-7), sigma = q sinh(min(n/(s q), 12))/n, v = sigma m,
 *    theta = sqrt(v^2 + 1/K)/q: g = sigma q L/max(v, 1e-7), where L = sqrt(2 max(theta - 1, 1e-6)) for
 *    theta < 1.01, else arcosh(theta); where a bound holds its slope is 0. For K > 1 the output has one
 *    length for all small v; for K < 1 it jumps at 0. K here is softplus(k) + 1e-6 of the code's k.
 *  - HORO_HYPLORA_SIMPLIFIED: its other branch, sigma = 2/(1 + K |x|^2): g = sigma/(1 + sqrt(K (v^2 + K))).
 *    s is not used (but must be positive).
 *  - x: tokens x d, out: tokens x k, with strides between tokens; a: r x d, b: k x r, contiguous.
 *  - gram: from horo_gram; unused by LORA, like K and s.
 *  - K, s: a number each, memory of the exec's device like all operands, so that they can be trained there.
 *    On the CPU they are checked; on a device one that is not positive gives NaN or what the formula gives.
 *  - p: tokens x r of dtype, receives a x. gain, norm, m: tokens, float64, receive g, |x|, |b a x|; not
 *    touched by LORA. p, norm and m are what the backward pass needs.
 */
HORO_API int32_t horo_low_rank_forward(const horo_exec* exec, int32_t dtype, int32_t kind, int64_t tokens,
                                       int64_t d, int64_t r, int64_t k, const void* x, int64_t x_stride,
                                       const void* a, const void* b, const double* gram, const double* K,
                                       const double* s, double scaling, void* out, int64_t out_stride,
                                       void* p, double* gain, double* norm, double* m);

/*
 * The gradients of sum(dout * out), all of them added to what dx (tokens x d), da (r x d), db (k x r), dK and
 * ds (one double each) hold; dx, dK and ds may be NULL if they are not wanted, LORA does not touch dK and ds.
 * dout has out_stride, dx has dx_stride between tokens. p, norm, m and gram are those of the forward pass.
 */
HORO_API int32_t horo_low_rank_backward(const horo_exec* exec, int32_t dtype, int32_t kind, int64_t tokens,
                                        int64_t d, int64_t r, int64_t k, const void* x, int64_t x_stride,
                                        const void* a, const void* b, const double* gram, const double* K,
                                        const double* s, double scaling, const void* dout, int64_t out_stride,
                                        const void* p, const double* norm, const double* m, void* dx,
                                        int64_t dx_stride, void* da, void* db, double* dK, double* ds,
                                        void* workspace, int64_t workspace_bytes);

/* Stores in *bytes the workspace of horo_low_rank_backward. */
HORO_API int32_t horo_low_rank_workspace(const horo_exec* exec, int32_t dtype, int32_t kind, int64_t tokens,
                                         int64_t d, int64_t r, int64_t k, int64_t* bytes);

/* ---- Metric spaces: distances and Gromov's delta
 * ------------------------------------------------------------------------------------------ */

/* out[i, j] = |x_i - x_j|, Euclidean, as float64: rows of HORO_F32 or HORO_F64, x_stride elements apart, to a
 * contiguous (rows, rows) matrix, exactly symmetric with a zero diagonal. Sums of squared differences in
 * float64 (no cancellation as in |x|^2 + |y|^2 - 2 xy); relative error at most (140 + dim / 1024) 2^-53, on a
 * CUDA device (140 + dim / 512) 2^-53, as long as no square leaves the range of float64. NaN in a row reaches
 * that row's and column's distances. out must not overlap x. */
HORO_API int32_t horo_pairwise_distance(int32_t dtype, int64_t rows, int64_t dim, const void* x,
                                        int64_t x_stride, double* out, const horo_exec* exec);

/* Gromov products at a base point: out[i, j] = ((d[base, i] + d[base, j]) - d[i, j]) / 2, every operation
 * rounded to float64 in this order. distances, out: (n, n), contiguous; out may be distances. base_row: n
 * doubles of scratch that overlap neither. */
HORO_API int32_t horo_gromov_product(int64_t n, const double* distances, int64_t base, double* out,
                                     double* base_row, const horo_exec* exec);

/* Returns max(at_least, max_{i,j,k} min(g[i,k], g[k,j]) - g[i,j]), at least 0: Gromov's four-point constant
 * at the base point of the products g, by the max-min product of Fournier, Ismail and Vigneron (arXiv
 * 1210.3323); the constant over all base points is at most twice that. gromov: (n, n), contiguous, must be
 * symmetric. The result is that of the definition to the last bit, whichever pairs (i, j) are passed over
 * because an upper bound shows that they cannot reach it; exhaustive != 0 passes over none, for timing. Time
 * O(n^3) at worst, O(n^2) where the bound is sharp, as it is for points in many dimensions. workspace: 2 n
 * doubles. NaN if there is a NaN in g; NaN with horo_last_error() set if an argument is invalid. A CUDA
 * device passes over no pair, and the call waits for it; -1 with horo_last_error() set if the device failed.
 */
HORO_API double horo_delta_hyperbolicity(int64_t n, const double* gromov, double at_least, int32_t exhaustive,
                                         double* workspace, const horo_exec* exec);

/* ---- Random numbers
 * ------------------------------------------------------------------------------------------ */

/* out[i] = std times a standard normal variate, element offset + i of the sequence of `seed`, for i < count,
 * as HORO_F32 or HORO_F64 (one sequence, rounded). A function of seed and position alone: the same bits on
 * every processor and CUDA device, for any number of threads, and for any cut of the sequence into calls.
 * Philox4x32-10 (Salmon et al. 2011), two variates per block of bits by Box and Muller; |variate| <= 8.6,
 * error at most 2e-15 (1 + radius of its pair) in float64. std >= 0; seed any; offset >= 0. */
HORO_API int32_t horo_normal(int32_t dtype, int64_t count, double std, int64_t seed, int64_t offset,
                             void* out, const horo_exec* exec);

#ifdef __cplusplus
}
#endif
#endif
