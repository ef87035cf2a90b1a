package org.horosphere;

import java.nio.file.Path;

/** What is loaded: versions, instruction set, library file. */
public final class Horosphere {
    private Horosphere() {}

    /** The release of the native library, e.g. {@code 0.1.0}. */
    public static String version() {
        return Native.version();
    }

    /** The instruction set the CPU kernels use: {@code avx512}, {@code avx2} or {@code scalar}. */
    public static String cpuIsa() {
        return Native.cpuIsa();
    }

    /** The file the native library was loaded from. */
    public static Path libraryFile() {
        return Native.file();
    }
}
