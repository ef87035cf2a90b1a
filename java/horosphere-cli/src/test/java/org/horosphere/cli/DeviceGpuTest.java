package org.horosphere.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.horosphere.Device;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * {@code --device cuda} from training to text, beside the CPU; skipped with the reason where there
 * is no device.
 */
class DeviceGpuTest {
    @TempDir Path dir;

    @Test
    void trainsEvaluatesAndGenerates() throws IOException {
        boolean present = !Device.list().isEmpty();
        String emulated = System.getProperty("horo.emulated");
        if (emulated != null && Files.exists(Path.of(emulated, "libhorosphere_cuda.so"))) {
            assertTrue(present, () -> "no emulated device: " + Device.reason());
        }
        Assumptions.assumeTrue(present, () -> "no CUDA device: " + Device.reason());
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

    private static String run(String... arguments) {
        Result result = Result.of(arguments);
        assertEquals(0, result.code(), result.err());
        return result.out();
    }
}
