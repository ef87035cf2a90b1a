package org.horosphere.finetune;

import java.lang.management.ManagementFactory;
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

    static String text(long bytes) {
        return String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1 << 30));
    }
}
