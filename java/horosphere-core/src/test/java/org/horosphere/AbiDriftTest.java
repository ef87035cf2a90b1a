package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The header, the Java descriptors and the exported symbols say the same. */
class AbiDriftTest {
    private static final Pattern PROTOTYPE =
            Pattern.compile("HORO_API\\s+([^;]*?)\\b(horo_\\w+)\\s*\\(([^)]*)\\);");

    private static final Map<String, String> HEADER = new TreeMap<>();

    @BeforeAll
    static void readHeader() throws Exception {
        String text = Files.readString(Path.of("../../native/include/horosphere/horo.h"));
        Matcher m =
                PROTOTYPE.matcher(
                        text.replaceAll("(?s)/\\*.*?\\*/", " ")
                                .replaceAll("(?m)^#.*$", " ")
                                .replace("extern \"C\" {", " "));
        while (m.find()) {
            String parameters =
                    m.group(3).trim().equals("void")
                            ? ""
                            : Pattern.compile(",")
                                    .splitAsStream(m.group(3))
                                    .map(AbiDriftTest::type)
                                    .collect(Collectors.joining(","));
            HEADER.put(m.group(2), type(m.group(1) + "x") + "(" + parameters + ")");
        }
        try (var files = Files.list(Path.of("target/classes/org/horosphere"))) {
            for (Path file : files.toList()) {
                String name = file.getFileName().toString();
                if (name.endsWith(".class") && !name.equals("package-info.class")) {
                    Class.forName("org.horosphere." + name.substring(0, name.length() - 6));
                }
            }
        }
    }

    private static String type(String declaration) {
        if (declaration.contains("*")) {
            return "ptr";
        }
        return declaration.trim().replaceFirst("\\s*\\w+$", "").trim();
    }

    private static String type(MemoryLayout layout) {
        if (layout instanceof AddressLayout) {
            return "ptr";
        }
        Class<?> carrier = ((ValueLayout) layout).carrier();
        return Map.of(int.class, "int32_t", long.class, "int64_t", double.class, "double")
                .get(carrier);
    }

    private static String type(FunctionDescriptor descriptor) {
        return descriptor.returnLayout().map(AbiDriftTest::type).orElse("void")
                + "("
                + descriptor.argumentLayouts().stream()
                        .map(AbiDriftTest::type)
                        .collect(Collectors.joining(","))
                + ")";
    }

    @Test
    void headerPrototypesEqualJavaDescriptors() {
        Map<String, String> java = new TreeMap<>();
        Native.BOUND.forEach((name, descriptor) -> java.put(name, type(descriptor)));
        assertEquals(HEADER, java);
    }

    @Test
    void headerPrototypesEqualExportedSymbols() throws IOException, InterruptedException {
        Process nm =
                new ProcessBuilder("nm", "-D", "--defined-only", Native.file().toString()).start();
        Set<String> exported =
                nm.inputReader()
                        .lines()
                        .map(line -> line.substring(line.lastIndexOf(' ') + 1))
                        .collect(Collectors.toCollection(TreeSet::new));
        assertEquals(0, nm.waitFor());
        assertEquals(HEADER.keySet(), exported);
    }
}
