package org.horosphere.finetune;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** Golden data outside the repository: {@code -Dhoro.shared}, {@code HORO_SHARED} or beside it. */
final class SharedData {
    private SharedData() {}

    /** The path, or the test is skipped. */
    static Path require(String relative) {
        String chosen = System.getProperty("horo.shared", System.getenv("HORO_SHARED"));
        Path path = Path.of(chosen != null ? chosen : "../../../shared").resolve(relative);
        Assumptions.assumeTrue(
                Files.exists(path), () -> "skipped: no golden data at " + path.toAbsolutePath());
        return path;
    }
}
