package org.horosphere.finetune;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.stream.Stream;

/** Reference data that is not part of the project; tests on it run where it is present. */
final class SharedTestData {
    private SharedTestData() {}

    static Path require(String relative) {
        Path found =
                Stream.of(
                                System.getProperty("horo.shared"),
                                System.getenv("HORO_SHARED"),
                                "../../../shared")
                        .filter(Objects::nonNull)
                        .map(root -> Path.of(root).resolve(relative))
                        .filter(Files::exists)
                        .findFirst()
                        .orElse(null);
        assumeTrue(found != null, relative + " is not present, set HORO_SHARED");
        return found;
    }
}
