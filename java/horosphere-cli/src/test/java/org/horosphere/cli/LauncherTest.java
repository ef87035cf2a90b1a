package org.horosphere.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The {@code horo} script in a checkout of its own, with a JDK and build tools that only pretend.
 */
class LauncherTest {
    private static final String MVN =
            "echo mvn >>\"$CALLS\"; sleep 0.3; touch java/horosphere-cli/target/horosphere-cli-1.jar";

    @TempDir Path dir;
    private Path root;
    private Path tools;
    private Path horo;
    private Path chosen;

    @BeforeEach
    void makeCheckout() throws IOException {
        root = Files.createDirectories(dir.resolve("a check out"));
        horo = Files.copy(Path.of("../../horo"), root.resolve("horo"));
        Files.createDirectories(root.resolve("native"));
        Files.createDirectories(root.resolve("java/horosphere-cli/src/main"));
        Files.writeString(root.resolve("pom.xml"), "");
        tools = Files.createDirectory(dir.resolve("tools"));
        for (String tool :
                List.of(
                        "bash",
                        "env",
                        "dirname",
                        "readlink",
                        "sed",
                        "find",
                        "mkdir",
                        "touch",
                        "mv",
                        "rm",
                        "tail",
                        "cat",
                        "flock",
                        "sleep")) {
            for (String folder : List.of("/usr/bin", "/bin")) {
                Path real = Path.of(folder, tool);
                if (Files.exists(real) && !Files.exists(tools.resolve(tool))) {
                    Files.createSymbolicLink(tools.resolve(tool), real);
                }
            }
        }
        script(tools.resolve("cmake"), "exit 0");
        script(tools.resolve("c++"), "exit 0");
        script(tools.resolve("mvn"), MVN);
        jdk("17", "jvm/old");
        jdk("25", "jvm/young jdk");
    }

    /** JUnit would warn of every link that leads out of its folder. */
    @AfterEach
    void removeLinks() throws IOException {
        try (Stream<Path> files = Files.list(tools)) {
            for (Path link : files.filter(Files::isSymbolicLink).toList()) {
                Files.delete(link);
            }
        }
    }

    private void jdk(String version, String folder) throws IOException {
        Path home = Files.createDirectories(dir.resolve(folder).resolve("bin")).getParent();
        Files.writeString(home.resolve("release"), "JAVA_VERSION=\"" + version + ".0.1\"\n");
        script(home.resolve("bin/java"), "echo java " + version + "; printf '<%s>' \"$@\"");
    }

    private static void script(Path file, String body) throws IOException {
        Files.writeString(file, "#!/bin/bash\n" + body + "\n");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private Process start(Path command, String... arguments) throws IOException {
        List<String> line = new java.util.ArrayList<>(List.of(command.toString()));
        line.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(line).directory(dir.toFile());
        Map<String, String> environment = builder.environment();
        environment.clear();
        environment.put("PATH", tools.toString());
        environment.put("JAVA_HOME", dir.resolve("jvm/old").toString());
        environment.put("HORO_JVM_DIR", dir.resolve("jvm").toString());
        environment.put("CALLS", dir.resolve("calls").toString());
        if (chosen != null) {
            environment.put("HORO_JAVA_HOME", chosen.toString());
        }
        return builder.start();
    }

    private record Ended(int code, String out, String err) {}

    private static Ended end(Process process) throws IOException, InterruptedException {
        String out = new String(process.getInputStream().readAllBytes());
        String err = new String(process.getErrorStream().readAllBytes());
        assertTrue(process.waitFor(30, TimeUnit.SECONDS));
        return new Ended(process.exitValue(), out, err);
    }

    private Ended run(String... arguments) throws Exception {
        return end(start(horo, arguments));
    }

    private boolean built() {
        return Files.exists(root.resolve("java/horosphere-cli/target/built"));
    }

    private int builds() throws IOException {
        Path calls = dir.resolve("calls");
        return Files.exists(calls) ? Files.readAllLines(calls).size() : 0;
    }

    @Test
    void buildsOnceAndPassesArgumentsOn() throws Exception {
        Ended first = run("generate", "--prompt", "two  words", "");
        assertEquals(0, first.code(), first.err());
        assertTrue(first.out().startsWith("java 25\n"), first.out());
        assertTrue(
                first.out().endsWith("horosphere-cli-1.jar><generate><--prompt><two  words><>"),
                first.out());
        assertTrue(first.err().matches("horo: building [^\n]+\n"), first.err());
        assertEquals("", run("eval").err());
        assertEquals(1, builds());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "[  1%] Building a|[ 12%] Building b|[ 15%] Building c|[ 31%] Building d",
                "[1/100] Building a|[12/100] Building b|[15/100] Building c|[3100/10000] Building d"
            })
    void saysHowFarTheCompilerIs(String compiler) throws Exception {
        String lines = "starting|" + compiler + "|[ 99%] Linking e|[100%] Built target jar";
        script(tools.resolve("mvn"), "echo '" + lines.replace("|", "\n") + "'; " + MVN);
        Ended ended = run("eval");
        assertTrue(
                ended.err()
                        .matches(
                                "horo: building [^\n]+\n"
                                        + "horo: 12% of the C\\+\\+ compiled\n"
                                        + "horo: 31% of the C\\+\\+ compiled\n"),
                ended.err());
        assertEquals(
                List.of(lines.split("\\|")),
                Files.readAllLines(root.resolve("java/horosphere-cli/target/build.log")));
    }

    @Test
    void worksThroughASymbolicLink() throws Exception {
        Path link = Files.createSymbolicLink(tools.resolve("horo"), horo);
        Ended ended = end(start(link, "eval"));
        assertEquals(0, ended.code(), ended.err());
        assertTrue(ended.out().contains(root.toString()), ended.out());
    }

    @Test
    void aChangedSourceIsBuilt() throws Exception {
        run("eval");
        Path source = Files.writeString(root.resolve("native/a.cpp"), "");
        Files.setLastModifiedTime(source, FileTime.fromMillis(System.currentTimeMillis() + 10_000));
        run("eval");
        assertEquals(2, builds());
    }

    @Test
    void twoFirstRunsBuildOnce() throws Exception {
        Process one = start(horo, "eval");
        Process two = start(horo, "eval");
        assertEquals(0, end(one).code());
        assertEquals(0, end(two).code());
        assertEquals(1, builds());
    }

    @Test
    void saysWhatIsMissing() throws Exception {
        Files.delete(tools.resolve("cmake"));
        Ended ended = run("eval");
        assertEquals(new Ended(1, "", "horo: the first build needs cmake on the PATH\n"), ended);
        assertFalse(built());
    }

    @Test
    void saysThatNoJdkIsNewEnough() throws Exception {
        Files.delete(dir.resolve("jvm/young jdk/bin/java"));
        Ended ended = run("eval");
        assertEquals(1, ended.code());
        assertEquals(
                "horo: no JDK 22 or newer found; install one or set HORO_JAVA_HOME\n", ended.err());
    }

    @Test
    void doesNotTakeAnotherJdkThanTheChosenOne() throws Exception {
        chosen = dir.resolve("jvm/old");
        Ended ended = run("eval");
        assertEquals(
                new Ended(1, "", "horo: HORO_JAVA_HOME: " + chosen + " is not a JDK 22 or newer\n"),
                ended);
        chosen = dir.resolve("jvm/young jdk");
        assertTrue(run("eval").out().startsWith("java 25\n"));
    }

    @Test
    void benchmarksAreBuiltWithoutNoise() throws Exception {
        Path bench = Files.createDirectories(root.resolve("build/bench/bench/native"));
        script(tools.resolve("cmake"), "echo configuring; echo building >&2");
        script(bench.resolve("bench_layers"), "echo \"measured $*\"");
        assertEquals(new Ended(0, "measured --quick\n", ""), run("bench", "layers", "--quick"));
        Files.delete(bench.resolve("bench_layers"));
        script(tools.resolve("cmake"), "echo the reason; exit 1");
        Ended ended = run("bench", "layers");
        assertEquals(1, ended.code());
        assertTrue(ended.err().startsWith("horo: building the C++ library ("), ended.err());
        assertTrue(ended.err().contains("the reason\nhoro: the build failed"), ended.err());
    }

    @Test
    void everyCommandHasHelp() throws Exception {
        Path cuda = Files.createDirectories(root.resolve("cuda"));
        for (String script : List.of("gpu-check", "gpu-bundle")) {
            Files.copy(Path.of("../../cuda/" + script + ".sh"), cuda.resolve(script + ".sh"));
            Ended help = run(script, "--help");
            assertEquals(0, help.code(), help.err());
            assertTrue(help.out().startsWith("usage: horo " + script), help.out());
            assertEquals(2, run(script, "--nosuch").code());
        }
    }

    @Test
    void aFailedBuildIsReportedAndTriedAgain() throws Exception {
        script(tools.resolve("mvn"), "echo the reason; exit 1");
        Ended ended = run("eval");
        assertEquals(1, ended.code());
        assertEquals("", ended.out());
        assertTrue(ended.err().contains("the reason\nhoro: the build failed"), ended.err());
        assertFalse(built());
        script(tools.resolve("mvn"), MVN);
        assertEquals(0, run("eval").code());
    }
}
