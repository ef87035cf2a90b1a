package org.horosphere.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.horosphere.Device;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * {@code --device cuda} from training to text, beside the CPU; skipped with the reason where there
 * is no device.
 */
class DeviceGpuTest {
    @TempDir Path dir;

    @BeforeEach
    void needsADevice() {
        boolean present = !Device.list().isEmpty();
        String emulated = System.getProperty("horo.emulated");
        if (emulated != null && Files.exists(Path.of(emulated, "libhorosphere_cuda.so"))) {
            assertTrue(present, () -> "no emulated device: " + Device.reason());
        }
        Assumptions.assumeTrue(present, () -> "no CUDA device: " + Device.reason());
    }

    @Test
    void trainsEvaluatesAndGenerates() throws IOException {
        String model = TinyModel.write(dir.resolve("model")).toString();
        String data = TinyModel.records(dir.resolve("data.jsonl"), 6).toString();
        String adapter = dir.resolve("adapter").toString();
        run(
                "finetune",
                "--device",
                "cuda",
                "--adapter",
                "hyplora+coeff",
                "--model",
                model,
                "--data",
                data,
                "--output",
                adapter,
                "--steps",
                "2",
                "--batch-size",
                "2",
                "--answer-tokens",
                "2");
        List<Double> losses = new ArrayList<>();
        List<String> texts = new ArrayList<>();
        for (String device : List.of("cpu", "cuda:0")) {
            Path json = dir.resolve("eval.json");
            run(
                    "eval",
                    "--device",
                    device,
                    "--model",
                    model,
                    "--adapter",
                    adapter,
                    "--data",
                    data,
                    "--json",
                    json.toString());
            losses.add(new ObjectMapper().readTree(json.toFile()).get("loss").asDouble());
            texts.add(
                    run(
                            "generate",
                            "--device",
                            device,
                            "--model",
                            model,
                            "--adapter",
                            adapter,
                            "--prompt",
                            "Q: 1 plus 1?",
                            "--max-new-tokens",
                            "3"));
        }
        assertEquals(losses.get(0), losses.get(1), 1e-5 * losses.get(0));
        assertEquals(texts.get(0), texts.get(1));
    }

    @Test
    void compares() throws IOException {
        String model = TinyModel.write(dir.resolve("model")).toString();
        String data = TinyModel.records(dir.resolve("data.jsonl"), 12).toString();
        List<JsonNode> reports = new ArrayList<>();
        for (String device : List.of("cpu", "cuda")) {
            Path json = dir.resolve(device + ".json");
            String text =
                    run(
                            "compare",
                            "--device",
                            device,
                            "--model",
                            model,
                            "--data",
                            data,
                            "--adapters",
                            "base,lora,hyplora+coeff",
                            "--seeds",
                            "1",
                            "--steps",
                            "2",
                            "--batch-size",
                            "2",
                            "--answer-tokens",
                            "2",
                            "--out",
                            dir.resolve(device).resolve("report.html").toString(),
                            "--json",
                            json.toString());
            assertTrue(text.contains("hyplora+coeff"), text);
            reports.add(new ObjectMapper().readTree(json.toFile()).get("results"));
        }
        assertEquals(3, reports.get(0).size());
        for (int arm = 0; arm < 3; arm++) {
            JsonNode want = reports.get(0).get(arm).get("runs").get(0).get("losses");
            JsonNode got = reports.get(1).get(arm).get("runs").get(0).get("losses");
            assertTrue(want.size() > 0);
            assertEquals(want.size(), got.size());
            for (int i = 0; i < want.size(); i++) {
                double loss = want.get(i).asDouble();
                assertEquals(loss, got.get(i).asDouble(), 1e-5 * loss);
            }
        }
    }

    @Test
    void pretrains() throws IOException {
        List<double[]> losses = new ArrayList<>();
        for (String device : List.of("cpu", "cuda")) {
            String output = dir.resolve(device).toString();
            String text =
                    run(
                            "pretrain",
                            "--device",
                            device,
                            "--output",
                            output,
                            "--hidden",
                            "64",
                            "--layers",
                            "1",
                            "--length",
                            "8",
                            "--steps",
                            "3",
                            "--warmup",
                            "0",
                            "--batch-size",
                            "2");
            Matcher line = Pattern.compile("held-out loss ([0-9.]+) -> ([0-9.]+);").matcher(text);
            assertTrue(line.find(), text);
            losses.add(
                    new double[] {
                        Double.parseDouble(line.group(1)), Double.parseDouble(line.group(2))
                    });
            assertTrue(losses.get(0)[1] < losses.get(0)[0] - 1e-3, text);
            run("generate", "--model", output, "--prompt", "Tom", "--max-new-tokens", "2");
        }
        assertArrayEquals(losses.get(0), losses.get(1), 1.1e-4); // printed with four digits
    }

    private static String run(String... arguments) {
        Result result = Result.of(arguments);
        assertEquals(0, result.code(), result.err());
        return result.out();
    }
}
