package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's Java example compiles and prints the right distance. */
class ReadmeTest {
    @Test
    void exampleRuns(@TempDir Path folder) throws Exception {
        Matcher block =
                Pattern.compile("```java\n(.*?)```", Pattern.DOTALL)
                        .matcher(Files.readString(Path.of("../../README.md")));
        assertTrue(block.find());
        Path source = Files.writeString(folder.resolve("Hello.java"), block.group(1));
        int status =
                ToolProvider.getSystemJavaCompiler()
                        .run(
                                null,
                                null,
                                null,
                                "-cp",
                                "target/classes",
                                "-d",
                                folder.toString(),
                                source.toString());
        assertEquals(0, status);
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream console = System.out;
        try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()})) {
            System.setOut(new PrintStream(printed, true));
            loader.loadClass("Hello")
                    .getMethod("main", String[].class)
                    .invoke(null, (Object) new String[0]);
        } finally {
            System.setOut(console);
        }
        // 2 artanh|-x ⊕ y| of the float32 coordinates, in float64: |y-x|² = 1.0000e-4, gaps 1-|x|²
        // and 1-|y|²
        double gapX = 1 - 0.6f * (double) 0.6f - 0.79f * (double) 0.79f;
        double gapY = 1 - 0.6f * (double) 0.6f - 0.78f * (double) 0.78f;
        double z = ((double) 0.79f - 0.78f) / Math.sqrt(gapX * gapY);
        double expected = 2 * Math.log(z + Math.sqrt(1 + z * z));
        assertEquals(expected, Float.parseFloat(printed.toString().strip()), 1e-7 * expected);
    }
}
