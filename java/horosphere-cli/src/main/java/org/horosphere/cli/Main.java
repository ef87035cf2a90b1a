package org.horosphere.cli;

import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;
import org.horosphere.Exec;
import org.horosphere.Horosphere;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/**
 * The {@code horo} command. Exit codes: 0 done, 1 failed, 2 wrong usage, each of the two with one
 * line on standard error; 130 (128 + the signal's number) stopped by Ctrl-C, with what was trained
 * so far saved.
 */
@Command(
        name = "horo",
        description =
                "Hyperbolic adapters for Llama, Qwen2 and Gemma checkpoints, on native kernels.",
        mixinStandardHelpOptions = true,
        versionProvider = Main.Version.class,
        synopsisSubcommandLabel = "COMMAND",
        footer = {
            "",
            "In a checkout ./horo has also gpu-check and gpu-bundle, for a machine with a GPU, and bench geometry, "
                    + "adapter, attention and layers."
        },
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:done",
            "1:failed, for the reason on standard error",
            "2:wrong usage",
            "130:stopped by Ctrl-C; what was trained so far is saved"
        },
        subcommands = {
            FinetuneCommand.class,
            CompareCommand.class,
            EvalCommand.class,
            GenerateCommand.class,
            PretrainCommand.class,
            InspectCommand.class,
            BenchCommand.class,
            VerifyCommand.class,
            EmbedCommand.class,
            MergeCommand.class,
            CommandLine.HelpCommand.class
        })
public final class Main implements Runnable {
    private static final int FAILED = 1;
    private static final int WRONG_USAGE = 2;

    /** As a shell reports a process that Ctrl-C ended. */
    static final int INTERRUPTED = 130;

    @Option(
            names = "--debug",
            scope = ScopeType.INHERIT,
            description = "Print the stack trace of a failure.")
    private boolean debug;

    @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

    /** Versions of what is loaded. */
    static final class Version implements IVersionProvider {
        @Override
        public String[] getVersion() {
            return new String[] {
                "horo " + Horosphere.version(),
                "native library " + Horosphere.libraryFile() + " (" + Horosphere.cpuIsa() + ")",
                "Java " + System.getProperty("java.version")
            };
        }
    }

    private Main() {}

    public static void main(String[] arguments) {
        // figures are read by scripts too: the same ones everywhere
        Locale.setDefault(Locale.Category.FORMAT, Locale.ROOT);
        System.exit(run(arguments));
    }

    /** Runs a command line and returns its exit code. */
    static int run(String... arguments) {
        Main main = new Main();
        CommandLine line = new CommandLine(main);
        line.setCaseInsensitiveEnumValuesAllowed(true);
        line.setExpandAtFiles(false); // a prompt may begin with @
        for (String command : List.of("finetune", "compare")) {
            line.getSubcommands()
                    .get(command)
                    .setDefaultValueProvider(new ConfigDefaults(arguments));
        }
        line.setParameterExceptionHandler(
                (failure, rest) -> {
                    String command = failure.getCommandLine().getCommandSpec().qualifiedName();
                    String message = Failures.oneLine(failure.getMessage());
                    if (failure instanceof CommandLine.UnmatchedArgumentException unmatched
                            && !unmatched.isUnknownOption()) {
                        boolean atTop = failure.getCommandLine().getParent() == null;
                        message =
                                (atTop ? "unknown command: " : "unexpected argument: ")
                                        + unmatched.getUnmatched().get(0);
                    }
                    System.err.println("horo: " + message + "; see " + command + " --help");
                    return WRONG_USAGE;
                });
        line.setExecutionExceptionHandler((failure, command, result) -> main.report(failure));
        line.setExecutionStrategy(
                parsed -> {
                    warnOf(
                            "HORO_ISA",
                            "avx512, avx2 or scalar, whichever the CPU has",
                            Horosphere::cpuIsa);
                    warnOf("HORO_THREADS", "1 to 1024", () -> Integer.toString(Exec.CPU.threads()));
                    return new CommandLine.RunLast().execute(parsed);
                });
        int code;
        try {
            code = line.execute(arguments);
        } catch (LinkageError | OutOfMemoryError e) {
            code = main.report(e);
        }
        if (code == 0 && System.out.checkError()) {
            System.err.println("horo: cannot write to standard output");
            return FAILED;
        }
        return code;
    }

    /** Says so if the library passed over the value of an environment variable. */
    private static void warnOf(String variable, String expected, Supplier<String> used) {
        String asked = System.getenv(variable);
        if (asked != null && !asked.isEmpty() && !asked.equals(used.get())) {
            System.err.printf(
                    "horo: %s: '%s', expected %s; the default is %s%n",
                    variable, Failures.oneLine(asked), expected, used.get());
        }
    }

    private int report(Throwable failure) {
        Throwable cause = Failures.cause(failure);
        boolean expected = Failures.isExpected(cause);
        System.out.flush();
        System.err.println("horo: " + (expected ? "" : "internal error: ") + Failures.line(cause));
        if (debug || !expected) {
            failure.printStackTrace(System.err);
        }
        return cause instanceof UsageException ? WRONG_USAGE : FAILED;
    }

    @Override
    public void run() {
        throw new CommandLine.ParameterException(
                spec.commandLine(),
                "expected a command: " + String.join(", ", spec.subcommands().keySet()));
    }
}
