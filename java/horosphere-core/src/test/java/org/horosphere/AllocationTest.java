package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Calls allocate nothing once they are compiled. */
class AllocationTest {
    /**
     * In a JVM that waits for the compiler: in others it may compile a call before that is
     * profiled, and then does not do without the sessions of the arrays' segments.
     */
    @Test
    void aCallAllocatesNothing() throws Exception {
        Process process =
                new ProcessBuilder(
                                ProcessHandle.current().info().command().orElseThrow(),
                                "-XX:-BackgroundCompilation",
                                "--enable-native-access=ALL-UNNAMED",
                                "-cp",
                                System.getProperty("java.class.path"),
                                AllocationTest.class.getName())
                        .redirectErrorStream(true)
                        .start();
        String printed =
                new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), printed);
    }

    /** Exits with 1 where a call allocates. */
    public static void main(String[] args) {
        PoincareBall ball = new PoincareBall(1);
        HyperbolicSets sets = HyperbolicSets.of(ball);
        HyperbolicLinear map = HyperbolicLinear.mobius_matvec(ball);
        MemorySegment in = Arena.global().allocate(16 * 8 * 4, 64);
        MemorySegment out = Arena.global().allocate(16 * 8 * 4, 64);
        float[] x = new float[16 * 8];
        float[] x2 = new float[16 * 8];
        float[] point = new float[8];
        float[] numbers = new float[16];
        double[] v = new double[4 * 8];
        double[] v2 = new double[4 * 8];
        double[] four = new double[4];
        MemorySegment own = Arena.ofConfined().allocate(16 * 8 * 4, 64);
        MemorySegment result = Arena.ofConfined().allocate(16 * 8 * 4, 64);
        Map<String, Runnable> calls = new LinkedHashMap<>();
        calls.put("mobius_add", () -> ball.mobius_add(DType.F32, 16, 8, in, in, out));
        calls.put("mobius_add of arrays", () -> ball.mobius_add(8, x, x, x));
        calls.put("dist_vjp", () -> ball.dist_vjp(8, x, x, numbers, x, null, numbers));
        calls.put("expmap", () -> ball.expmap(DType.F32, 16, 8, own, own, result));
        calls.put("expmap_vjp of arrays", () -> ball.expmap_vjp(8, x, x, x, x, x2, numbers));
        calls.put(
                "ptransp_vjp",
                () -> ball.ptransp_vjp(DType.F32, 4, 8, in, own, in, own, out, null, null, null));
        calls.put(
                "ptransp_vjp of arrays", () -> ball.ptransp_vjp(8, v, v, v, v, v, null, v2, four));
        calls.put("expmap0_vjp", () -> ball.expmap0_vjp(8, v, v, null, four));
        calls.put("midpoint", () -> sets.midpoint(16, 8, x, numbers, point));
        calls.put("midpoint of segments", () -> sets.midpoint(DType.F32, 1, 8, 8, own, in, result));
        calls.put(
                "cdist of segments", () -> sets.cdist(DType.F32, 8, 8, 8, own, in, false, result));
        calls.put("midpoint of equals", () -> sets.midpoint(16, 8, x, null, point));
        calls.put("cdist", () -> sets.cdist(8, x, point, false, numbers));
        calls.put("mobius_matvec", () -> map.forward(8, 1, x, point, null, numbers));
        int status = 0;
        for (var call : calls.entrySet()) {
            long bytes = bytes(call.getValue());
            System.out.println(call.getKey() + ": " + bytes + " bytes in 10000 calls");
            status |= bytes < 10_000 ? 0 : 1;
        }
        System.exit(status);
    }

    private static long bytes(Runnable call) {
        var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        long bytes = Long.MAX_VALUE;
        for (int round = 0; round < 20 && bytes >= 10_000; round++) {
            long before = threads.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < 10_000; i++) {
                call.run();
            }
            bytes = threads.getCurrentThreadAllocatedBytes() - before;
        }
        return bytes;
    }
}
