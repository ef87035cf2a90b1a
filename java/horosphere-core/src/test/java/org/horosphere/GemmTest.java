package org.horosphere;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GemmTest {
    private final Arena arena = Arena.ofConfined();

    @AfterEach
    void close() {
        arena.close();
    }

    private MemorySegment random(long n, long seed) {
        Random random = new Random(seed);
        MemorySegment out = arena.allocate(JAVA_FLOAT, n);
        for (long i = 0; i < n; i++) {
            out.setAtIndex(JAVA_FLOAT, i, random.nextFloat() - 0.5f);
        }
        return out;
    }

    @ParameterizedTest
    @CsvSource({"1,1,1", "3,5,7", "1,90,33", "65,17,300"})
    void productsAgreeWithTheSum(int m, int n, int k) {
        for (int t = 0; t < 4; t++) {
            boolean ta = (t & 1) != 0;
            boolean tb = (t & 2) != 0;
            int lda = (ta ? m : k) + 1;
            int ldb = (tb ? k : n) + 2;
            int ldc = n + 3;
            MemorySegment a = random((long) (ta ? k : m) * lda, 1);
            MemorySegment b = random((long) (tb ? n : k) * ldb, 2);
            MemorySegment c = random((long) m * ldc, 3);
            float[] before = c.toArray(JAVA_FLOAT);
            Gemm.sgemm(ta, tb, m, n, k, 0.5, a, lda, b, ldb, 2, c, ldc, Exec.CPU);
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < n; j++) {
                    double want = 0;
                    for (int p = 0; p < k; p++) {
                        want +=
                                (double) a.getAtIndex(JAVA_FLOAT, ta ? p * lda + i : i * lda + p)
                                        * b.getAtIndex(JAVA_FLOAT, tb ? j * ldb + p : p * ldb + j);
                    }
                    want = 0.5 * want + 2.0 * before[i * ldc + j];
                    assertEquals(want, c.getAtIndex(JAVA_FLOAT, i * ldc + j), 2e-6);
                }
                for (int j = n; j < ldc; j++) {
                    assertEquals(before[i * ldc + j], c.getAtIndex(JAVA_FLOAT, i * ldc + j));
                }
            }
        }
    }

    @Test
    void bfloat16ProductsAgreeWithTheSum() {
        int m = 5;
        int n = 33;
        int k = 70;
        MemorySegment a = random((long) m * k, 4);
        MemorySegment b = random((long) n * k, 5);
        MemorySegment narrowA = arena.allocate(JAVA_SHORT, (long) m * k);
        MemorySegment narrowB = arena.allocate(JAVA_SHORT, (long) n * k);
        MemorySegment c = arena.allocate(JAVA_FLOAT, (long) m * n);
        Layers.convert_from_f32(a, DType.BF16, narrowA, (long) m * k, Exec.CPU);
        Layers.convert_from_f32(b, DType.BF16, narrowB, (long) n * k, Exec.CPU);
        Layers.convert(DType.BF16, narrowA, a, (long) m * k, Exec.CPU);
        Layers.convert(DType.BF16, narrowB, b, (long) n * k, Exec.CPU);
        Gemm.gemm_bf16(false, true, m, n, k, narrowA, k, narrowB, k, 0, c, n, Exec.CPU);
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double want = 0;
                for (int p = 0; p < k; p++) {
                    want +=
                            (double) a.getAtIndex(JAVA_FLOAT, i * k + p)
                                    * b.getAtIndex(JAVA_FLOAT, j * k + p);
                }
                assertEquals(want, c.getAtIndex(JAVA_FLOAT, i * n + j), 2e-6);
            }
        }
        refused(
                "a: 700 bytes",
                () ->
                        Gemm.gemm_bf16(
                                false, true, m + 1, n, k, narrowA, k, narrowB, k, 0, c, n,
                                Exec.CPU));
    }

    @Test
    void bfloat16WeightsGiveTheProductOfTheirFloats() {
        int m = 5;
        int n = 33;
        int k = 70;
        MemorySegment a = random((long) m * k, 4);
        MemorySegment b = random((long) n * k, 5);
        MemorySegment narrow = arena.allocate(JAVA_SHORT, (long) n * k);
        MemorySegment want = arena.allocate(JAVA_FLOAT, (long) m * n);
        MemorySegment got = arena.allocate(JAVA_FLOAT, (long) m * n);
        for (DType type : new DType[] {DType.BF16, DType.F16}) {
            Layers.convert_from_f32(b, type, narrow, (long) n * k, Exec.CPU);
            Layers.convert(type, narrow, b, (long) n * k, Exec.CPU);
            Gemm.sgemm(false, true, m, n, k, 1, a, k, b, k, 0, want, n, Exec.CPU);
            Gemm.gemm(false, true, m, n, k, 1, a, k, type, narrow, k, 0, got, n, Exec.CPU);
            assertEquals(-1, want.mismatch(got), "both are the built-in kernel: " + type);
        }
        refused(
                "typeB",
                () ->
                        Gemm.gemm(
                                false, true, 1, 1, 1, 1, a, 1, DType.F64, b, 1, 0, got, 1,
                                Exec.CPU));
        refused(
                "b: 4620 bytes",
                () ->
                        Gemm.gemm(
                                false,
                                true,
                                m,
                                n + 1,
                                k,
                                1,
                                a,
                                k,
                                DType.BF16,
                                narrow,
                                k,
                                0,
                                got,
                                n + 1,
                                Exec.CPU));
    }

    @Test
    void badArgumentsAreNamed() {
        MemorySegment x = arena.allocate(JAVA_FLOAT, 4);
        MemorySegment y = arena.allocate(JAVA_FLOAT, 4);
        refused("lda", () -> product(x, 1, x, 2, y, 2));
        refused("ldb", () -> product(x, 2, x, 1, y, 2));
        refused("ldc", () -> product(x, 2, x, 2, y, 1));
        refused("a: 8 bytes", () -> product(x.asSlice(0, 8), 2, x, 2, y, 2));
        refused("b: 12 bytes", () -> product(x, 2, x.asSlice(4), 2, y, 2));
        refused("c: read-only", () -> product(x, 2, x, 2, y.asReadOnly(), 2));
        refused("c: overlaps a", () -> product(x, 2, y, 2, x, 2));
        refused("c: overlaps b", () -> product(x, 2, y, 2, y, 2));
    }

    private static void product(
            MemorySegment a, long lda, MemorySegment b, long ldb, MemorySegment c, long ldc) {
        Gemm.sgemm(false, false, 2, 2, 2, 1, a, lda, b, ldb, 0, c, ldc, Exec.CPU);
    }

    @Test
    void aProviderThatCannotBeOpenedIsReported() {
        HorosphereException e =
                assertThrows(
                        HorosphereException.class, () -> Gemm.load(Path.of("/no/such/lib.so")));
        assertTrue(e.getMessage().contains("/no/such/lib.so"), e.getMessage());
        assertEquals("built-in", Gemm.provider());
    }

    private static void refused(String message, org.junit.jupiter.api.function.Executable call) {
        String text = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(text.contains(message), text);
    }
}
