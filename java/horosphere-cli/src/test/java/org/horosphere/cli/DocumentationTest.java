package org.horosphere.cli;

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

/** The Java program of docs/finetune.md compiles, trains and generates. */
class DocumentationTest {
    @Test
    void theProgramTrains(@TempDir Path folder) throws Exception {
        Matcher block =
                Pattern.compile("```java\n(.*?)```", Pattern.DOTALL)
                        .matcher(Files.readString(Path.of("../../docs/finetune.md")));
        assertTrue(block.find());
        Path source = Files.writeString(folder.resolve("Tune.java"), block.group(1));
        int status =
                ToolProvider.getSystemJavaCompiler()
                        .run(
                                null,
                                null,
                                null,
                                "-cp",
                                System.getProperty("java.class.path"),
                                "-d",
                                folder.toString(),
                                source.toString());
        assertEquals(0, status);
        Path output = folder.resolve("adapter");
        String[] arguments = {
            TinyModel.write(folder.resolve("model")).toString(),
            TinyModel.records(folder.resolve("data.jsonl"), 30).toString(),
            output.toString()
        };
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream console = System.out;
        try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()})) {
            System.setOut(new PrintStream(printed, true));
            loader.loadClass("Tune")
                    .getMethod("main", String[].class)
                    .invoke(null, (Object) arguments);
        } finally {
            System.setOut(console);
        }
        Matcher losses =
                Pattern.compile("held-out loss ([0-9.]+) -> ([0-9.]+)").matcher(printed.toString());
        assertTrue(losses.find(), printed.toString());
        assertTrue(
                Double.parseDouble(losses.group(2)) < 0.9 * Double.parseDouble(losses.group(1)),
                printed.toString());
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
        assertTrue(Files.exists(output.resolve("results.json")));
    }
}
