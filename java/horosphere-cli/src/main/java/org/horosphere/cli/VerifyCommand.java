package org.horosphere.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.finetune.ModelVerifier;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code horo verify}. */
@Command(
        name = "verify",
        mixinStandardHelpOptions = true,
        description = {
            "Compares what this machine computes with reference numbers.",
            "DIR is a model directory with golden.json and golden.safetensors: logits, hidden states, loss, gradients, "
                    + "greedy tokens and training of Hugging Face transformers and PEFT. Exit code 1 past tolerance."
        })
final class VerifyCommand implements Callable<Integer> {
    @Parameters(paramLabel = "DIR", description = "What to verify.")
    private Path folder;

    @Option(names = "--json", paramLabel = "FILE", description = "Write {\"results\": [...]} here.")
    private Path json;

    @Override
    public Integer call() {
        if (!ModelVerifier.isModel(folder)) {
            throw new IllegalArgumentException(
                    "DIR " + folder + ": expected a model directory with golden.json");
        }
        return verifyModel() ? 0 : 1;
    }

    private boolean verifyModel() {
        List<ModelVerifier.Result> results = ModelVerifier.verify(folder, Exec.CPU);
        System.out.println(ModelVerifier.HEADER);
        results.forEach(System.out::println);
        Reports.writeJson(
                json,
                Map.of("results", results.stream().map(ModelVerifier.Result::toJson).toList()));
        return results.stream().allMatch(ModelVerifier.Result::ok);
    }
}
