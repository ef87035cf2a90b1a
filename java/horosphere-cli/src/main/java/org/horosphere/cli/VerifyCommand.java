package org.horosphere.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.finetune.GoldenVerifier;
import org.horosphere.finetune.ModelVerifier;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code horo verify}. */
@Command(
        name = "verify",
        mixinStandardHelpOptions = true,
        description = {
            "Compares what this machine computes with reference numbers.",
            "A folder with index.json: kernels against values of many digits; an error is shown as a share of what is "
                    + "allowed (1 is the limit) and relative to the value.",
            "A model directory with golden.json and golden.safetensors: logits, hidden states, loss, gradients, greedy "
                    + "tokens and training of Hugging Face transformers and PEFT.",
            "Exit code 1 if anything is past tolerance or missing."
        })
final class VerifyCommand implements Callable<Integer> {
    @Parameters(
            arity = "0..1",
            paramLabel = "DIR",
            description = "What to verify (default: a small set of kernel cases in the program).")
    private Path folder;

    @Option(names = "--json", paramLabel = "FILE", description = "Write {\"results\": [...]} here.")
    private Path json;

    @Mixin private ThreadsOption threads;

    @Override
    public Integer call() {
        Exec exec = threads.exec();
        Outputs.requireUsable(json);
        if (folder != null && ModelVerifier.isModel(folder)) {
            return verifyModel(exec) ? 0 : 1;
        }
        if (folder != null && !GoldenVerifier.isGolden(folder)) {
            throw new IllegalArgumentException(
                    "DIR " + folder + ": has neither index.json nor golden.json");
        }
        List<GoldenVerifier.Result> results =
                folder == null
                        ? GoldenVerifier.verifyBuiltIn(exec, id -> {})
                        : GoldenVerifier.verify(folder, exec, id -> {});
        return report(results) ? 0 : 1;
    }

    private boolean verifyModel(Exec exec) {
        List<ModelVerifier.Result> results = ModelVerifier.verify(folder, exec);
        System.out.println(ModelVerifier.HEADER);
        results.forEach(System.out::println);
        Reports.writeJson(
                json,
                Map.of("results", results.stream().map(ModelVerifier.Result::toJson).toList()));
        return results.stream().allMatch(ModelVerifier.Result::ok);
    }

    private boolean report(List<GoldenVerifier.Result> results) {
        System.out.printf(
                "%-28s %-5s %-8s %5s %11s %10s%n",
                "operation", "dtype", "pass", "cases", "of allowed", "relative");
        List<Map<String, Object>> entries = new ArrayList<>();
        for (GoldenVerifier.Result r : results) {
            System.out.printf(
                    Locale.ROOT,
                    "%-28s %-5s %-8s %5d %11s %10s  %s%n",
                    r.op(),
                    r.dtype(),
                    r.pass(),
                    r.cases(),
                    r.missing() ? "-" : "%.3g".formatted(r.worst()),
                    r.missing() ? "-" : "%.1e".formatted(r.maxPlainError()),
                    r.missing() ? "MISSING" : r.ok() ? "ok" : "FAILED");
            r.failures().forEach(failure -> System.out.println("    " + failure));
            entries.add(entry(r));
        }
        long bad = results.stream().filter(r -> !r.ok()).count();
        System.out.printf(
                "%s: %d of %d checks passed%n",
                bad == 0 ? "ok" : "FAILED", results.size() - bad, results.size());
        Reports.writeJson(json, Map.of("results", entries));
        return bad == 0;
    }

    private static Map<String, Object> entry(GoldenVerifier.Result r) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("op", r.op());
        entry.put("dtype", r.dtype());
        entry.put("device", r.device());
        entry.put("pass", r.pass());
        entry.put("cases", r.cases());
        entry.put("max_rel_error", r.missing() ? null : r.maxRelError());
        entry.put("tolerance", r.missing() ? null : r.tolerance());
        entry.put("ok", r.ok());
        entry.put("missing", r.missing());
        return entry;
    }
}
