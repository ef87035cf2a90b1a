package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;

/**
 * Dense matrix products. On the CPU: oneDNN once it has been loaded, a slower built-in kernel until
 * then. With an {@link Exec#cuda}: cuBLASLt 13 or 12, found by the dynamic linker or named by the
 * environment variable HORO_CUBLASLT; operands are device addresses ({@link DeviceMemory#at}), of
 * float32, of bfloat16, or a float32 A by a bfloat16 B, and a stream's first product, which
 * allocates what its products work in, must come before a capture into a CUDA graph. Safe from any
 * thread; results are bitwise the same for any number of threads and from run to run, but differ in
 * the last bits between providers, instruction sets and kinds of device.
 */
public final class Gemm {
    private static final MethodHandle LOAD =
            Native.bind("horo_gemm_load", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    private static final MethodHandle PROVIDER =
            Native.bind("horo_gemm_provider", FunctionDescriptor.of(Native.C_STRING));
    private static final MethodHandle GEMM =
            Native.bind(
                    "horo_gemm",
                    FunctionDescriptor.of(
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_INT,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            JAVA_INT,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_INT,
                            ADDRESS,
                            JAVA_LONG,
                            JAVA_DOUBLE,
                            ADDRESS,
                            JAVA_LONG,
                            ADDRESS));

    private Gemm() {}

    /**
     * Opens oneDNN as the provider, for the life of the process. Once one is open, further calls do
     * nothing.
     *
     * @param libdnnl the file {@code libdnnl.so.3}; what it depends on must lie beside it or on the
     *     system
     * @throws HorosphereException with the dynamic linker's reason if it cannot be opened
     */
    public static void load(Path libdnnl) {
        try (Arena arena = Arena.ofConfined()) {
            int status;
            try {
                status =
                        (int)
                                LOAD.invokeExact(
                                        arena.allocateFrom(libdnnl.toAbsolutePath().toString()));
            } catch (Throwable t) {
                throw Native.rethrow(t);
            }
            Native.check(status);
        }
    }

    /** What computes the products: {@code onednn 3.11} (its version) or {@code built-in}. */
    public static String provider() {
        return Native.text(PROVIDER);
    }

    /**
     * {@code C = alpha op(A) op(B) + beta C}, row-major float32, where op transposes if asked to.
     *
     * @param transA whether A is stored as (k, m) instead of (m, k)
     * @param transB whether B is stored as (n, k) instead of (k, n)
     * @param m rows of C
     * @param n columns of C
     * @param k the length that is summed over
     * @param alpha factor of the product, rounded to float32
     * @param a A, native memory
     * @param lda elements between the rows of A as stored, at least the length of a row
     * @param b B, native memory
     * @param ldb elements between the rows of B as stored
     * @param beta factor of C, rounded to float32; with 0 C is not read
     * @param c C, native memory that overlaps neither A nor B
     * @param ldc elements between the rows of C
     * @param exec where to run
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public static void sgemm(
            boolean transA,
            boolean transB,
            long m,
            long n,
            long k,
            double alpha,
            MemorySegment a,
            long lda,
            MemorySegment b,
            long ldb,
            double beta,
            MemorySegment c,
            long ldc,
            Exec exec) {
        call(
                transA, transB, m, n, k, alpha, DType.F32, a, lda, DType.F32, b, ldb, beta, c, ldc,
                exec);
    }

    /**
     * {@code C = op(A) op(B) + beta C} with A and B stored as bfloat16: products of such numbers
     * are exact and are summed in float32, by the instructions that the processor has for it where
     * oneDNN knows any (AVX512-BF16, AMX: two to eight times the rate of float32), else by the
     * built-in kernel at the rate of float32.
     *
     * @param transA whether A is stored as (k, m) instead of (m, k)
     * @param transB whether B is stored as (n, k) instead of (k, n)
     * @param m rows of C
     * @param n columns of C
     * @param k the length that is summed over
     * @param a A, bfloat16, native memory
     * @param lda elements between the rows of A as stored, at least the length of a row
     * @param b B, bfloat16, native memory
     * @param ldb elements between the rows of B as stored
     * @param beta factor of C, rounded to float32; with 0 C is not read
     * @param c C, float32, native memory that overlaps neither A nor B
     * @param ldc elements between the rows of C
     * @param exec where to run
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public static void gemm_bf16(
            boolean transA,
            boolean transB,
            long m,
            long n,
            long k,
            MemorySegment a,
            long lda,
            MemorySegment b,
            long ldb,
            double beta,
            MemorySegment c,
            long ldc,
            Exec exec) {
        call(
                transA,
                transB,
                m,
                n,
                k,
                1,
                DType.BF16,
                a,
                lda,
                DType.BF16,
                b,
                ldb,
                beta,
                c,
                ldc,
                exec);
    }

    /**
     * As {@link #sgemm}, with B stored in 16 bits if wanted: {@code C = alpha op(A) op(B) + beta
     * C}. B becomes float32 on its way to the registers, so the arithmetic is float32 throughout
     * and only the memory of B is halved. Products of 16-bit types are computed by the built-in
     * kernel.
     *
     * @param transA whether A is stored as (k, m) instead of (m, k)
     * @param transB whether B is stored as (n, k) instead of (k, n)
     * @param m rows of C
     * @param n columns of C
     * @param k the length that is summed over
     * @param alpha factor of the product, rounded to float32
     * @param a A, float32, native memory
     * @param lda elements between the rows of A as stored, at least the length of a row
     * @param typeB how B is stored: {@link DType#F32}, {@link DType#BF16} or {@link DType#F16}
     * @param b B, native memory
     * @param ldb elements between the rows of B as stored
     * @param beta factor of C, rounded to float32; with 0 C is not read
     * @param c C, float32, native memory that overlaps neither A nor B
     * @param ldc elements between the rows of C
     * @param exec where to run
     * @throws IllegalArgumentException naming the argument that does not fit
     */
    public static void gemm(
            boolean transA,
            boolean transB,
            long m,
            long n,
            long k,
            double alpha,
            MemorySegment a,
            long lda,
            DType typeB,
            MemorySegment b,
            long ldb,
            double beta,
            MemorySegment c,
            long ldc,
            Exec exec) {
        if (typeB == null || typeB == DType.F64) {
            throw new IllegalArgumentException("typeB: " + typeB + ", expected F32, BF16 or F16");
        }
        call(transA, transB, m, n, k, alpha, DType.F32, a, lda, typeB, b, ldb, beta, c, ldc, exec);
    }

    private static void call(
            boolean transA,
            boolean transB,
            long m,
            long n,
            long k,
            double alpha,
            DType typeA,
            MemorySegment a,
            long lda,
            DType typeB,
            MemorySegment b,
            long ldb,
            double beta,
            MemorySegment c,
            long ldc,
            Exec exec) {
        Checks.requireAtLeast("m", m, 0);
        Checks.requireAtLeast("n", n, 0);
        Checks.requireAtLeast("k", k, 0);
        long sizeA = transA ? extent(k, m, lda, "lda") : extent(m, k, lda, "lda");
        long sizeB = transB ? extent(n, k, ldb, "ldb") : extent(k, n, ldb, "ldb");
        long sizeC = extent(m, n, ldc, "ldc");
        Checks.require(exec, "a", a, sizeA, typeA.bytes());
        Checks.require(exec, "b", b, sizeB, typeB.bytes());
        Checks.requireWritable(exec, "c", c, sizeC, Float.BYTES);
        Checks.requireDisjoint("c", c, sizeC * Float.BYTES, "a", a, sizeA * typeA.bytes());
        Checks.requireDisjoint("c", c, sizeC * Float.BYTES, "b", b, sizeB * typeB.bytes());
        int status;
        try {
            status =
                    (int)
                            GEMM.invokeExact(
                                    transA ? 1 : 0,
                                    transB ? 1 : 0,
                                    m,
                                    n,
                                    k,
                                    alpha,
                                    typeA.code(),
                                    a,
                                    lda,
                                    typeB.code(),
                                    b,
                                    ldb,
                                    beta,
                                    c,
                                    ldc,
                                    exec.handle());
        } catch (Throwable t) {
            throw Native.rethrow(t);
        }
        Native.check(status);
    }

    /** Elements from the first to the last of a matrix, both included. */
    private static long extent(long rows, long cols, long ld, String name) {
        if (ld < Math.max(cols, 1)) {
            throw new IllegalArgumentException(
                    name + ": " + ld + ", expected at least the row length " + cols);
        }
        return rows == 0 || cols == 0 ? 0 : Checks.product(name, rows - 1, ld) + cols;
    }
}
