package org.horosphere.finetune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.horosphere.Exec;
import org.horosphere.Gemm;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OneDnnTest {
    @Test
    void productsAgreeWithTheSum() {
        OneDnn.ensureLoaded();
        OneDnn.ensureLoaded();
        assertEquals("onednn 3.11", Gemm.provider());
        int m = 300;
        int n = 1100;
        int k = 65;
        try (Arena arena = Arena.ofConfined();
                Exec one = Exec.cpu(1);
                Exec two = Exec.cpu(2)) {
            MemorySegment a = random(arena, m * k, 1);
            MemorySegment b = random(arena, n * k, 2);
            MemorySegment c = arena.allocate(JAVA_FLOAT, (long) m * n);
            MemorySegment again = arena.allocate(JAVA_FLOAT, (long) m * n);
            Gemm.sgemm(false, true, m, n, k, 1, a, k, b, k, 0, c, n, two);
            Gemm.sgemm(false, true, m, n, k, 1, a, k, b, k, 0, again, n, one);
            assertEquals(-1, c.mismatch(again), "one thread and two differ");
            for (int i = 0; i < m; i += 7) {
                for (int j = 0; j < n; j += 11) {
                    double want = 0;
                    for (int p = 0; p < k; p++) {
                        want +=
                                (double) a.getAtIndex(JAVA_FLOAT, i * k + p)
                                        * b.getAtIndex(JAVA_FLOAT, j * k + p);
                    }
                    assertEquals(want, c.getAtIndex(JAVA_FLOAT, (long) i * n + j), 2e-6);
                }
            }
        }
    }

    /** Left to itself, OpenMP starts helpers for every thread that asks for a product. */
    @Test
    void noThreadsAreStarted() throws Exception {
        OneDnn.ensureLoaded();
        int callers = 8;
        int size = 300;
        CountDownLatch finished = new CountDownLatch(callers);
        CountDownLatch counted = new CountDownLatch(1);
        long before = threads();
        try (Arena arena = Arena.ofShared();
                Exec one = Exec.cpu(1)) {
            MemorySegment a = random(arena, size * size, 3);
            List<Thread> started = new ArrayList<>();
            for (int i = 0; i < callers; i++) {
                MemorySegment c = arena.allocate(JAVA_FLOAT, (long) size * size);
                Thread caller =
                        new Thread(
                                () -> {
                                    try {
                                        Gemm.sgemm(
                                                false, true, size, size, size, 1, a, size, a, size,
                                                0, c, size, one);
                                        finished.countDown();
                                        counted.await();
                                    } catch (InterruptedException e) {
                                        Thread.currentThread().interrupt();
                                    }
                                });
                caller.start();
                started.add(caller);
            }
            assertTrue(finished.await(30, TimeUnit.SECONDS));
            long helpers = threads() - before - callers;
            counted.countDown();
            for (Thread caller : started) {
                caller.join();
            }
            // the JVM may have started a compiler thread or two
            assertTrue(helpers < callers / 2, helpers + " more threads than were started");
        }
    }

    private static MemorySegment random(Arena arena, long n, long seed) {
        Random random = new Random(seed);
        MemorySegment out = arena.allocate(JAVA_FLOAT, n);
        for (long i = 0; i < n; i++) {
            out.setAtIndex(JAVA_FLOAT, i, random.nextFloat() - 0.5f);
        }
        return out;
    }

    private static long threads() throws Exception {
        try (var tasks = Files.list(Path.of("/proc/self/task"))) {
            return tasks.count();
        }
    }

    @Test
    void aChosenPathWinsAndAMissingJarIsNamed(@TempDir Path folder) {
        ClassLoader none = new ClassLoader(null) {};
        assertEquals(folder.resolve("libdnnl.so.3"), OneDnn.locate(folder.toString(), none));
        assertEquals(Path.of("/x/lib.so"), OneDnn.locate("/x/lib.so", none));
        UnsatisfiedLinkError e =
                assertThrows(UnsatisfiedLinkError.class, () -> OneDnn.locate(null, none));
        assertTrue(e.getMessage().contains("org.bytedeco:dnnl"), e.getMessage());
    }
}
