package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** What tests on a CUDA device share. */
public final class CudaTests {
    private CudaTests() {}

    /**
     * The first device, or the test is skipped with the reason. Where the build has made the
     * emulated one and the test is told of it, there must be a device.
     */
    public static Device device() {
        boolean present = !Device.list().isEmpty();
        String emulated = System.getProperty("horo.emulated");
        if (emulated != null && Files.exists(Path.of(emulated, "libhorosphere_cuda.so"))) {
            assertTrue(present, () -> "no emulated device: " + Device.reason());
        }
        if (!present) {
            System.out.println("skipped, no CUDA device: " + Device.reason());
        }
        Assumptions.assumeTrue(present, () -> "no CUDA device: " + Device.reason());
        return Device.list().get(0);
    }
}
