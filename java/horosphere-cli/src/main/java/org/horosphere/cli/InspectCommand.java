package org.horosphere.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.finetune.AtomicFiles;
import org.horosphere.finetune.CausalLm;
import org.horosphere.finetune.Dataset;
import org.horosphere.finetune.OneDnn;
import org.horosphere.finetune.inspect.Inspection;
import org.horosphere.finetune.inspect.MatrixFiles;
import org.horosphere.finetune.inspect.Points;
import org.horosphere.finetune.inspect.ReportWriter;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code horo inspect}. */
@Command(
        name = "inspect",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        description = {
            "Is this embedding space hyperbolic at all? Token-frequency power law, norms, and delta-hyperbolicity "
                    + "beside matched null models: look before you tune.",
            "Takes a model and a data file, or plain matrices with --matrix. docs/inspect.md explains every figure."
        })
final class InspectCommand implements Callable<Integer> {
    /** The square of it in float64 is 13 GB, twice. */
    private static final int MOST_POINTS = 40_000;

    @Mixin private ModelOptions model;

    @Mixin private ThreadsOption threads;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description = "Text, JSONL or JSON; prompts are read (default: the embedded test set).")
    private Path data;

    @Option(
            names = "--matrix",
            paramLabel = "FILE",
            description =
                    "Instead of a model: a matrix, one point per row (.npy, .csv, .safetensors[:NAME]); repeatable.")
    private List<String> matrices = new ArrayList<>();

    @Option(
            names = "--prompts",
            paramLabel = "N",
            defaultValue = "30",
            description = "Texts the geometry is measured on (default: ${DEFAULT-VALUE}).")
    private int prompts;

    @Option(
            names = "--points",
            paramLabel = "N",
            defaultValue = "1500",
            description =
                    "Most points of one space; larger ones are sampled (default: ${DEFAULT-VALUE}).")
    private int points;

    @Option(
            names = "--replicates",
            paramLabel = "N",
            defaultValue = "39",
            description = "Draws of each null model, 19 or more (default: ${DEFAULT-VALUE}).")
    private int replicates;

    @Option(
            names = "--resamples",
            paramLabel = "N",
            defaultValue = "200",
            description = "Bootstrap resamples of the power law (default: ${DEFAULT-VALUE}).")
    private int resamples;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "1",
            description = "Seed of every random choice (default: ${DEFAULT-VALUE}).")
    private long seed;

    @Option(names = "--json", paramLabel = "FILE", description = "Write all results here.")
    private Path json;

    @Option(
            names = "--html",
            paramLabel = "FILE",
            description = "Write a report with charts here: one file, nothing outside it.")
    private Path html;

    @Option(
            names = "--plots",
            paramLabel = "DIR",
            description = "Write every chart here as SVG and PNG.")
    private Path plots;

    @Override
    public Integer call() throws IOException {
        UsageException.require("--prompts", prompts, 1, Integer.MAX_VALUE);
        UsageException.require("--points", points, 4, MOST_POINTS);
        UsageException.require("--replicates", replicates, 19, Integer.MAX_VALUE);
        UsageException.require("--resamples", resamples, 1, Integer.MAX_VALUE);
        if (!matrices.isEmpty() && (data != null || model.isGiven())) {
            throw new UsageException("--matrix: not together with --model, --adapter or --data");
        }
        Exec exec = threads.exec();
        Outputs.requireUsable(json);
        Outputs.requireUsable(html);
        if (plots != null) {
            AtomicFiles.requireDirectory(plots);
        }
        Inspection.Options options =
                new Inspection.Options(prompts, points, replicates, resamples, seed);
        Inspection.Report report =
                matrices.isEmpty() ? inspectModel(options, exec) : inspectMatrices(options, exec);
        System.out.print(ReportWriter.text(report));
        if (html != null) {
            Files.createDirectories(html.toAbsolutePath().normalize().getParent());
            ReportWriter.html(report, html);
        }
        if (plots != null) {
            ReportWriter.charts(report, plots);
        }
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("inspection", report);
        Reports.writeJson(json, all);
        return 0;
    }

    private Inspection.Report inspectModel(Inspection.Options options, Exec exec) {
        try (CausalLm lm = model.open(exec)) {
            Path file = data == null ? Defaults.testData() : data;
            List<String> texts =
                    Dataset.isRecords(file)
                            ? Dataset.readProblems(file).stream()
                                    .map(Dataset.Problem::prompt)
                                    .toList()
                            : Dataset.readTexts(file);
            return Inspection.model(
                    lm,
                    texts,
                    List.of(model.name(), data == null ? "embedded test set" : data.toString()),
                    options,
                    exec,
                    Terminal::progress);
        }
    }

    private Inspection.Report inspectMatrices(Inspection.Options options, Exec exec) {
        OneDnn.ensureLoaded();
        List<Points> all = matrices.stream().map(MatrixFiles::read).toList();
        return Inspection.matrices(all, options, exec, Terminal::progress);
    }
}
