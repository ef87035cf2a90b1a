package org.horosphere.finetune;

import java.nio.file.Files;
import java.nio.file.Path;
import org.horosphere.Gemm;
import org.horosphere.NativeLibraries;

/**
 * Makes oneDNN the provider of matrix products: the copy in the {@code org.bytedeco:dnnl} jar on
 * the class path, or the file named by {@code -Dhorosphere.dnnl.path} or the environment variable
 * {@code HOROSPHERE_DNNL_PATH} (the library itself or the directory it lies in).
 */
public final class OneDnn {
    private static final String FOLDER = "org/bytedeco/dnnl/linux-x86_64/";
    private static final String LIBRARY = "libdnnl.so.3";

    private OneDnn() {}

    /**
     * Loads oneDNN if nothing has done so yet. Safe from any thread.
     *
     * @throws UnsatisfiedLinkError if there is no library to load, saying where it was looked for
     * @throws org.horosphere.HorosphereException if the library cannot be opened, with the reason
     */
    public static void ensureLoaded() {
        if (Gemm.provider().equals("built-in")) {
            Gemm.load(locate(chosen(), OneDnn.class.getClassLoader()));
        }
    }

    private static String chosen() {
        String property = System.getProperty("horosphere.dnnl.path");
        return property != null ? property : System.getenv("HOROSPHERE_DNNL_PATH");
    }

    static Path locate(String chosen, ClassLoader loader) {
        if (chosen != null) {
            Path path = Path.of(chosen);
            return Files.isDirectory(path) ? path.resolve(LIBRARY) : path;
        }
        if (loader.getResource(FOLDER + LIBRARY) == null) {
            throw new UnsatisfiedLinkError(
                    "oneDNN is not on the class path: add org.bytedeco:dnnl with classifier"
                            + " linux-x86_64, or set -Dhorosphere.dnnl.path to a "
                            + LIBRARY);
        }
        return NativeLibraries.unpack(loader, FOLDER + LIBRARY, FOLDER + "libgomp.so.1");
    }
}
