package org.horosphere.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.horosphere.DType;
import org.horosphere.Exec;
import org.horosphere.finetune.AdapterKind;
import org.horosphere.finetune.ModelConfig;
import org.horosphere.finetune.RopeConfig;
import org.horosphere.finetune.TrainingBenchmark;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * {@code horo bench}. Kernel benchmarks are native programs that the {@code horo} script builds and
 * runs.
 */
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        description = {
            "Measures, always as a ratio to a floor timed in the same run.",
            "bench geometry, adapter, attention and layers are native programs that ./horo builds in a checkout."
        },
        subcommands = BenchCommand.Train.class)
final class BenchCommand implements Runnable {
    @picocli.CommandLine.Spec private picocli.CommandLine.Model.CommandSpec spec;

    @Override
    public void run() {
        spec.commandLine().usage(System.out);
    }

    /** Whole training steps. */
    @Command(
            name = "train",
            mixinStandardHelpOptions = true,
            description = {
                "Times training steps (4 x 256 tokens, rank 8 on q, k, v, up, down, random weights) of LoRA, "
                        + "HypLoRA and Coeff, interleaved: the fastest step, and the median.",
                "The floor is transformers + PEFT LoRA with --peer, else the time of the step's matrix products alone "
                        + "at the machine's own rate."
            })
    static final class Train implements Callable<Integer> {
        private static final int SEQUENCES = 4;
        private static final int LENGTH = 256;
        private static final int VOCABULARY = 32000;

        /** Steps before the clock: pages are touched, code is compiled, the processor wakes up. */
        private static final int WARM_UP = 2;

        private enum Size {
            M15(288, 6, 6, 768),
            M110(768, 12, 12, 2048);

            private final int hidden;
            private final int layers;
            private final int heads;
            private final int ffn;

            Size(int hidden, int layers, int heads, int ffn) {
                this.hidden = hidden;
                this.layers = layers;
                this.heads = heads;
                this.ffn = ffn;
            }

            ModelConfig config() {
                return new ModelConfig(
                        ModelConfig.Family.LLAMA,
                        VOCABULARY,
                        hidden,
                        ffn,
                        layers,
                        heads,
                        heads,
                        hidden / heads,
                        512,
                        1e-5,
                        true,
                        RopeConfig.of(hidden / heads, 10000),
                        0.02,
                        DType.F32,
                        OptionalInt.of(1),
                        List.of(2),
                        OptionalInt.empty());
            }
        }

        @Option(names = "--quick", description = "Five steps of each instead of ten.")
        private boolean quick;

        @Option(
                names = "--size",
                paramLabel = "SIZE",
                defaultValue = "m15",
                description = "m15 or m110: 15 or 110 million weights (default: ${DEFAULT-VALUE}).")
        private Size size;

        @Option(
                names = "--dtype",
                paramLabel = "TYPE",
                defaultValue = "f32",
                description =
                        "Type of the frozen weights, f32 or bf16; the peer's too (default: ${DEFAULT-VALUE}).")
        private WeightType dtype;

        @Option(
                names = "--checkpointing",
                description = "Compute blocks again in the backward pass instead of keeping them.")
        private boolean checkpointing;

        @Option(
                names = "--adapter",
                paramLabel = "KIND",
                description =
                        "Only this one: its peak memory is then that of the process (default: lora, hyplora and coeff).")
        private String adapter;

        @Option(names = "--peer-compile", description = "Let the peer run through torch.compile.")
        private boolean peerCompile;

        @Option(
                names = "--peer",
                paramLabel = "PYTHON",
                description =
                        "A python with torch, transformers and peft: compare with bench/peers/train.py.")
        private Path peer;

        @Option(
                names = "--peer-script",
                paramLabel = "FILE",
                defaultValue = "bench/peers/train.py",
                description = "Where that script is (default: ${DEFAULT-VALUE}).")
        private Path peerScript;

        @Mixin private ThreadsOption threads;

        @Option(
                names = "--json",
                paramLabel = "FILE",
                description = "Write {\"results\": [...]} here.")
        private Path json;

        @Override
        public Integer call() throws IOException {
            Exec exec = threads.exec();
            Outputs.requireUsable(json);
            List<AdapterKind> kinds =
                    adapter == null
                            ? List.of(AdapterKind.LORA, AdapterKind.HYPLORA, AdapterKind.COEFF)
                            : List.of(UsageException.check(() -> AdapterKind.of(adapter)));
            List<TrainingBenchmark> runs = new ArrayList<>();
            for (AdapterKind kind : kinds) {
                TrainingBenchmark run =
                        new TrainingBenchmark(
                                size.config(),
                                kind,
                                SEQUENCES,
                                LENGTH,
                                dtype.storage(),
                                checkpointing,
                                exec);
                runs.add(run);
            }
            int rounds = quick ? 5 : 10;
            double[][] seconds = new double[kinds.size()][rounds];
            double[] peerSeconds = new double[rounds];
            double rate = 0;
            try (Peer other = peer == null ? null : new Peer(exec.threads())) {
                for (int round = -WARM_UP; round < rounds; round++) {
                    int at = Math.max(0, round);
                    for (int i = 0; i < seconds.length; i++) {
                        seconds[i][at] = runs.get(i).step();
                    }
                    if (other != null) {
                        peerSeconds[at] = other.step();
                    }
                }
                long bytes = peakBytes(ProcessHandle.current().pid());
                long peerBytes = other == null ? 0 : peakBytes(other.process.pid());
                for (int round = 0; round < 5; round++) {
                    rate = Math.max(rate, runs.get(0).gemmRate());
                }
                report(kinds, runs, seconds, peerSeconds, rate, bytes, peerBytes);
            }
            return 0;
        }

        private void report(
                List<AdapterKind> kinds,
                List<TrainingBenchmark> runs,
                double[][] seconds,
                double[] peerSeconds,
                double rate,
                long bytes,
                long peerBytes) {
            String floor =
                    peer == null
                            ? "its matrix products"
                            : "transformers + PEFT LoRA" + (peerCompile ? ", torch.compile" : "");
            System.out.printf(
                    Locale.ROOT,
                    "%-20s %10s %10s %12s   over %s%n",
                    "train " + size + " " + dtype,
                    "tokens/s",
                    "median",
                    "GEMM share",
                    floor);
            List<Map<String, Object>> results = new ArrayList<>();
            for (int i = 0; i < seconds.length; i++) {
                TrainingBenchmark run = runs.get(i);
                double best = Arrays.stream(seconds[i]).min().orElseThrow();
                double speed = run.tokens() / best;
                double usual = run.tokens() / median(seconds[i]);
                double share = run.flops() / rate / best;
                double reference =
                        peer == null
                                ? run.tokens() / (run.flops() / rate)
                                : run.tokens() / Arrays.stream(peerSeconds).min().orElseThrow();
                System.out.printf(
                        Locale.ROOT,
                        "%-20s %10.0f %10.0f %11.0f%%   %.2f%n",
                        kinds.get(i),
                        speed,
                        usual,
                        100 * share,
                        speed / reference);
                Map<String, Object> result = new LinkedHashMap<>();
                result.put("bench", "train");
                result.put("op", kinds.get(i).toString());
                result.put("pass", "step");
                result.put("dtype", dtype.toString());
                result.put("dim", size.hidden);
                result.put("rows", run.tokens());
                result.put("tokens_per_second", speed);
                result.put("median_tokens_per_second", usual);
                result.put("gemm_share", share);
                result.put("floor", floor);
                result.put("floor_tokens_per_second", reference);
                result.put("ratio", speed / reference);
                result.put("peak_rss_bytes", bytes);
                result.put("floor_peak_rss_bytes", peerBytes);
                results.add(result);
            }
            if (adapter != null && bytes > 0) {
                System.out.printf(Locale.ROOT, "peak memory %d MiB", bytes >> 20);
                System.out.println(
                        peerBytes == 0
                                ? ""
                                : String.format(
                                        Locale.ROOT,
                                        ", the peer's %d MiB, ratio %.2f",
                                        peerBytes >> 20,
                                        (double) bytes / peerBytes));
            }
            Reports.writeJson(json, Map.of("results", results));
        }

        private static double median(double[] values) {
            double[] sorted = values.clone();
            Arrays.sort(sorted);
            int half = sorted.length / 2;
            return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
        }

        /** The most physical memory a process has used, 0 where the system does not tell. */
        private static long peakBytes(long process) {
            try (Stream<String> lines = Files.lines(Path.of("/proc/" + process + "/status"))) {
                return lines.filter(line -> line.startsWith("VmHWM:"))
                        .mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", "")) << 10)
                        .findAny()
                        .orElse(0);
            } catch (IOException e) {
                return 0;
            }
        }

        /** The other implementation, stepping once for every line it is sent. */
        private final class Peer implements AutoCloseable {
            private final Process process;
            private final BufferedReader replies;
            private final Writer requests;

            Peer(int peerThreads) throws IOException {
                List<String> command =
                        new ArrayList<>(List.of(peer.toString(), peerScript.toString()));
                for (int number :
                        new int[] {
                            size.hidden,
                            size.layers,
                            size.heads,
                            size.ffn,
                            SEQUENCES,
                            LENGTH,
                            peerThreads
                        }) {
                    command.add(Integer.toString(number));
                }
                command.addAll(List.of(dtype.toString(), peerCompile ? "1" : "0"));
                process =
                        new ProcessBuilder(command)
                                .redirectError(ProcessBuilder.Redirect.INHERIT)
                                .start();
                replies = process.inputReader();
                requests = process.outputWriter();
                System.out.println("peer: " + reply());
            }

            double step() throws IOException {
                requests.write("\n");
                requests.flush();
                return Double.parseDouble(reply());
            }

            private String reply() {
                try {
                    String line = replies.readLine();
                    if (line == null) {
                        throw new IllegalArgumentException(
                                "--peer " + peer + ": " + peerScript + " ended early");
                    }
                    return line;
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }

            @Override
            public void close() {
                process.destroy();
            }
        }
    }
}
