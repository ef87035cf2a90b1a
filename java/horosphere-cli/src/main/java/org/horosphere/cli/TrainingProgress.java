package org.horosphere.cli;

import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.horosphere.finetune.Trainer;

/** Shows a run: a progress bar on a terminal, a log line every few seconds elsewhere. */
final class TrainingProgress implements Trainer.Listener, AutoCloseable {
    private static final Duration LOG_INTERVAL = Duration.ofSeconds(5);

    private final PrintStream out;
    private final String unit;
    private final int taken;
    private final int steps;
    private final ProgressBar bar;
    private final long started = System.nanoTime();
    private long lastLog = started;
    private long tokens;
    private double smoothed = Double.NaN;

    /** Of a language model. */
    TrainingProgress(PrintStream out, String name, int taken, int steps) {
        this(out, name, "tokens", taken, steps);
    }

    /**
     * @param name of the run
     * @param unit what is counted: tokens or images
     * @param taken steps of earlier sessions
     * @param steps in all
     */
    TrainingProgress(PrintStream out, String name, String unit, int taken, int steps) {
        this.unit = unit.equals("tokens") ? "tok" : unit;
        this.out = out;
        this.taken = taken;
        this.steps = steps;
        bar =
                Terminal.isInteractive()
                        ? new ProgressBarBuilder()
                                .setTaskName(name)
                                .setInitialMax(steps)
                                .setStyle(ProgressBarStyle.ASCII)
                                .setUpdateIntervalMillis(200)
                                .build()
                        : null;
    }

    @Override
    public void stepped(
            int step, double loss, double learningRate, double gradientNorm, long stepTokens) {
        tokens += stepTokens;
        smoothed = Double.isNaN(smoothed) ? loss : 0.9 * smoothed + 0.1 * loss;
        long now = System.nanoTime();
        double seconds = (now - started) / 1e9;
        if (bar != null) {
            bar.setExtraMessage(
                    String.format(
                            Locale.ROOT,
                            " loss %.3f lr %.1e %.0f %s/s",
                            smoothed,
                            learningRate,
                            tokens / seconds,
                            unit));
            bar.stepTo(step);
        } else if (step == taken + 1 || step == steps || now - lastLog > LOG_INTERVAL.toNanos()) {
            lastLog = now;
            out.printf(
                    Locale.ROOT,
                    "step %d/%d  loss %.4f  lr %.2e  %.0f %s/s  %.0f s left%n",
                    step,
                    steps,
                    smoothed,
                    learningRate,
                    tokens / seconds,
                    unit,
                    seconds / (step - taken) * (steps - step));
        }
    }

    @Override
    public void validated(int step, double loss, boolean best) {
        if (bar == null) {
            out.printf(
                    Locale.ROOT,
                    "step %d/%d  held-out loss %.4f%s%n",
                    step,
                    steps,
                    loss,
                    best ? "  (best)" : "");
        }
    }

    @Override
    public void close() {
        if (bar != null) {
            bar.close();
        }
    }
}
