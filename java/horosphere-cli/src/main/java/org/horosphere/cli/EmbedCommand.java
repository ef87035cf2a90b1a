package org.horosphere.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.horosphere.Exec;
import org.horosphere.Lorentz;
import org.horosphere.Manifold;
import org.horosphere.PoincareBall;
import org.horosphere.finetune.DiskDrawing;
import org.horosphere.finetune.EmbeddingFiles;
import org.horosphere.finetune.Hierarchy;
import org.horosphere.finetune.HierarchyEmbedding;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code horo embed}. */
@Command(
        name = "embed",
        mixinStandardHelpOptions = true,
        description = {
            "Embeds a hierarchy into hyperbolic space (Nickel and Kiela 2017) and says how well its edges can be "
                    + "read off the distances.",
            "Mean rank: of a parent among the nodes that are not parents, 1 is best. MAP: mean average precision."
        })
final class EmbedCommand implements Callable<Integer> {
    private static final long LOG_NANOS = 2_000_000_000L;

    /** Models of hyperbolic space. */
    enum Model {
        POINCARE,
        LORENTZ
    }

    @Parameters(
            paramLabel = "FILE",
            description =
                    "Edges: CSV or TSV, child before parent (or as its heading says), or node-link JSON, parent to child.")
    private Path file;

    @Option(
            names = "--order",
            paramLabel = "ORDER",
            description = "child_parent or parent_child, if the file is the other way round.")
    private Hierarchy.Order order;

    @Option(
            names = "--model",
            paramLabel = "MODEL",
            defaultValue = "poincare",
            description = "poincare or lorentz (default: ${DEFAULT-VALUE}).")
    private Model model;

    @Option(
            names = "--dim",
            paramLabel = "N",
            defaultValue = "5",
            description = "Dimensions (default: ${DEFAULT-VALUE}).")
    private int dim;

    @Option(
            names = "--curvature",
            paramLabel = "K",
            defaultValue = "-1",
            description = "Curvature, negative (default: ${DEFAULT-VALUE}).")
    private double curvature;

    @Option(
            names = "--epochs",
            paramLabel = "N",
            defaultValue = "300",
            description = "Passes over the edges (default: ${DEFAULT-VALUE}).")
    private int epochs;

    @Option(
            names = "--lr",
            paramLabel = "RATE",
            defaultValue = "0.1",
            description = "Step size per edge (default: ${DEFAULT-VALUE}).")
    private double lr;

    @Option(
            names = "--burn-in",
            paramLabel = "N",
            defaultValue = "20",
            description =
                    "First epochs, at a hundredth of the step size (default: ${DEFAULT-VALUE}).")
    private int burnIn;

    @Option(
            names = "--negatives",
            paramLabel = "N",
            defaultValue = "50",
            description = "Sampled nodes per edge (default: ${DEFAULT-VALUE}).")
    private int negatives;

    @Option(
            names = "--batch",
            paramLabel = "N",
            defaultValue = "10",
            description = "Edges per step (default: ${DEFAULT-VALUE}).")
    private int batch;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Of start and samples (default: ${DEFAULT-VALUE}).")
    private long seed;

    @Option(
            names = "--output",
            paramLabel = "FILE",
            description = "Write the points: .csv, else safetensors.")
    private Path output;

    @Option(
            names = "--draw",
            paramLabel = "FILE",
            description = "With --dim 2, draw the disk: .png, else SVG.")
    private Path draw;

    @Mixin private ThreadsOption threads;

    @Option(names = "--json", paramLabel = "FILE", description = "Write the report here.")
    private Path json;

    @Override
    public Integer call() {
        if (draw != null && dim != 2) {
            throw new UsageException("--draw: needs --dim 2, got " + dim);
        }
        if (!(curvature < 0) || curvature == Double.NEGATIVE_INFINITY) {
            throw new UsageException("--curvature: " + curvature + ", expected a negative number");
        }
        Exec exec = threads.exec();
        Manifold manifold =
                model == Model.POINCARE
                        ? new PoincareBall(-curvature, exec)
                        : new Lorentz(-1 / curvature, exec);
        HierarchyEmbedding.Options options =
                UsageException.check(
                        () ->
                                new HierarchyEmbedding.Options(
                                        dim, epochs, lr, burnIn, negatives, batch, seed));
        Outputs.requireUsable(output);
        Outputs.requireUsable(draw);
        Outputs.requireUsable(json);
        Hierarchy hierarchy = Hierarchy.read(file, order);
        hierarchy.warnings().forEach(text -> System.err.println("horo: " + file + ": " + text));
        System.out.printf("%d nodes, %d edges%n", hierarchy.nodes(), hierarchy.edges());
        long started = System.nanoTime();
        long[] lastLog = {started};
        HierarchyEmbedding embedding =
                HierarchyEmbedding.train(
                        hierarchy,
                        manifold,
                        options,
                        (epoch, loss) -> {
                            long now = System.nanoTime();
                            if (now - lastLog[0] > LOG_NANOS || epoch == epochs) {
                                lastLog[0] = now;
                                System.err.printf(
                                        Locale.ROOT,
                                        "epoch %d/%d  loss %.4f  %.0f s left%n",
                                        epoch,
                                        epochs,
                                        loss,
                                        (now - started) / 1e9 * (epochs - epoch) / epoch);
                            }
                        });
        double seconds = (System.nanoTime() - started) / 1e9;
        HierarchyEmbedding.Reconstruction quality = embedding.reconstruction();
        System.out.printf(
                Locale.ROOT,
                "mean rank %.3f, MAP %.4f over %d nodes; %d epochs in %.1f s%n",
                quality.meanRank(),
                quality.map(),
                quality.nodes(),
                epochs,
                seconds);
        if (output != null) {
            Outputs.makeParents(output);
            EmbeddingFiles.write(embedding, output);
        }
        if (draw != null) {
            Outputs.makeParents(draw);
            DiskDrawing.write(embedding, draw);
        }
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("nodes", hierarchy.nodes());
        report.put("edges", hierarchy.edges());
        report.put("dim", dim);
        report.put("mean_rank", quality.meanRank());
        report.put("map", quality.map());
        report.put("seconds", seconds);
        Reports.writeJson(json, report);
        return 0;
    }
}
