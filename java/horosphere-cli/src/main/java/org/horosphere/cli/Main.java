package org.horosphere.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import org.horosphere.Horosphere;
import org.horosphere.HorosphereException;
import org.horosphere.finetune.CheckpointException;
import org.horosphere.finetune.DataException;
import org.horosphere.finetune.TrainingException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/**
 * The {@code horo} command. Exit codes: 0 done, 1 failed with one line on standard error, 2 wrong
 * usage.
 */
@Command(
        name = "horo",
        description = "Hyperbolic adapters for Llama-family checkpoints, on native kernels.",
        mixinStandardHelpOptions = true,
        versionProvider = Main.Version.class,
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {
            FinetuneCommand.class,
            EvalCommand.class,
            GenerateCommand.class,
            PretrainCommand.class,
            VerifyCommand.class,
            EmbedCommand.class,
            CommandLine.HelpCommand.class
        })
public final class Main implements Runnable {
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

    /** Failures a user can do something about: their message is enough. */
    private static final List<Class<? extends Exception>> EXPECTED =
            List.of(
                    CheckpointException.class,
                    DataException.class,
                    TrainingException.class,
                    HorosphereException.class,
                    IllegalArgumentException.class,
                    UncheckedIOException.class,
                    IOException.class);

    private Main() {}

    public static void main(String[] arguments) {
        System.exit(run(arguments));
    }

    /** Runs a command line and returns its exit code. */
    static int run(String... arguments) {
        Main main = new Main();
        CommandLine line = new CommandLine(main);
        line.setCaseInsensitiveEnumValuesAllowed(true);
        line.setExecutionExceptionHandler(
                (failure, command, result) -> {
                    boolean expected = EXPECTED.stream().anyMatch(type -> type.isInstance(failure));
                    String text =
                            failure.getMessage() == null
                                    ? failure.toString()
                                    : failure.getMessage();
                    command.getErr()
                            .println("horo: " + (expected ? text : "internal error: " + failure));
                    if (main.debug || !expected) {
                        failure.printStackTrace(command.getErr());
                    }
                    return 1;
                });
        return line.execute(arguments);
    }

    @Override
    public void run() {
        spec.commandLine().usage(System.out);
    }
}
