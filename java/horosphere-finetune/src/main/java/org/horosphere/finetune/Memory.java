package org.horosphere.finetune;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** How much memory there is. */
final class Memory {
    private Memory() {}

    /** Physical memory, or the container's limit; unlimited if the JVM does not say. */
    static long physicalBytes() {
        return ManagementFactory.getOperatingSystemMXBean()
                        instanceof com.sun.management.OperatingSystemMXBean system
                ? system.getTotalMemorySize()
                : Long.MAX_VALUE;
    }

    /**
     * Memory that can be had without swapping: what Linux says is available, within the container's
     * limit.
     */
    static long availableBytes() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/meminfo"))) {
                if (line.startsWith("MemAvailable:")) {
                    long kibibytes = Long.parseLong(line.replaceAll("[^0-9]", ""));
                    return Math.min(physicalBytes(), kibibytes * 1024);
                }
            }
        } catch (IOException | NumberFormatException e) {
            return physicalBytes(); // not Linux, or an old one
        }
        return physicalBytes();
    }

    static String text(long bytes) {
        return bytes < 1L << 30
                ? String.format(Locale.ROOT, "%.1f MiB", bytes / (double) (1 << 20))
                : String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1 << 30));
    }
}
