package org.horosphere.cli;

import org.horosphere.Exec;
import picocli.CommandLine.Option;

/** How many threads of the CPU compute. */
final class ThreadsOption {
    private static final int MOST = 1024;

    @Option(
            names = "--threads",
            paramLabel = "N",
            defaultValue = "0",
            description =
                    "CPU threads; 0 takes HORO_THREADS, else all cores that may be used. Results do not depend on it.")
    private int threads;

    /** The CPU with that many. */
    Exec exec() {
        UsageException.require("--threads", threads, 0, MOST);
        return threads == 0 ? Exec.CPU : Exec.cpu(threads);
    }
}
