package org.horosphere.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.horosphere.finetune.CheckpointException;
import org.horosphere.finetune.TrainingRun;
import picocli.CommandLine;
import picocli.CommandLine.IDefaultValueProvider;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;

/**
 * Option values from a JSON file (keys are option names without dashes) and from a preset: flags
 * override the file, the file overrides the preset. A run that is resumed reads its own {@link
 * TrainingRun#CONFIGURATION} if no other file is named.
 */
final class ConfigDefaults implements IDefaultValueProvider {
    private static final Set<String> OF_THE_COMMAND_LINE =
            Set.of("--config", "--resume", "--overwrite", "--help", "--version", "--debug");

    private final List<String> arguments;
    private Map<String, String> values;

    ConfigDefaults(String... arguments) {
        this.arguments = List.of(arguments);
    }

    @Override
    public String defaultValue(ArgSpec argument) {
        if (!(argument instanceof OptionSpec option)
                || OF_THE_COMMAND_LINE.contains(option.longestName())) {
            return null;
        }
        if (values == null) {
            try {
                values = read(argument.command());
            } catch (UsageException e) {
                values = Map.of();
                throw new CommandLine.ParameterException(
                        argument.command().commandLine(), e.getMessage());
            }
        }
        return values.get(option.longestName());
    }

    private Map<String, String> read(CommandSpec command) {
        Map<String, String> all = new HashMap<>();
        Map<String, String> file = new HashMap<>();
        String named = argument("--config");
        String output = argument("--output") != null ? argument("--output") : argument("--out");
        if (named != null) {
            file = read(named, command);
        } else if (arguments.contains("--resume") && output != null) {
            Path own = path(output).resolve(TrainingRun.CONFIGURATION);
            if (Files.isRegularFile(own)) {
                file = read(own.toString(), command);
            }
        }
        String preset = argument("--preset");
        if (preset == null) {
            preset = file.get("--preset");
        }
        if (preset != null) {
            all.putAll(Preset.of(preset).options());
        }
        all.putAll(file);
        return all;
    }

    /** The value of an option on the command line, null if it is not there. */
    private String argument(String name) {
        String value = null;
        for (int i = 0; i < arguments.size(); i++) {
            if (arguments.get(i).equals(name) && i + 1 < arguments.size()) {
                value = arguments.get(i + 1);
            } else if (arguments.get(i).startsWith(name + "=")) {
                value = arguments.get(i).substring(name.length() + 1);
            }
        }
        return value;
    }

    private static Path path(String name) {
        try {
            return Path.of(name);
        } catch (InvalidPathException e) {
            throw new UsageException("not a file name: " + e.getMessage());
        }
    }

    private static Map<String, String> read(String name, CommandSpec command) {
        JsonNode json;
        try {
            json =
                    new ObjectMapper()
                            .readTree(Files.readString(path(name), StandardCharsets.UTF_8));
        } catch (JsonProcessingException e) {
            throw new UsageException(name + ": not valid JSON: " + CheckpointException.reason(e));
        } catch (IOException e) {
            throw new UsageException(name + ": cannot read: " + CheckpointException.reason(e));
        }
        if (!(json instanceof ObjectNode object)) {
            throw new UsageException(name + ": expected a JSON object of options");
        }
        Map<String, String> values = new HashMap<>();
        for (Map.Entry<String, JsonNode> entry : object.properties()) {
            String option = "--" + entry.getKey();
            if (!command.optionsMap().containsKey(option) || OF_THE_COMMAND_LINE.contains(option)) {
                throw new UsageException(
                        name + ": '" + entry.getKey() + "' is no option of " + command.name());
            }
            if (!entry.getValue().isNull()) {
                values.put(option, text(name, entry.getKey(), entry.getValue()));
            }
        }
        return values;
    }

    private static String text(String file, String key, JsonNode value) {
        if (value.isArray()) {
            List<String> parts = new ArrayList<>();
            value.forEach(part -> parts.add(text(file, key, part)));
            return String.join(",", parts);
        }
        if (value.isValueNode()) {
            return value.asText();
        }
        throw new UsageException(
                file + ": '" + key + "' is an object, expected a value or an array of values");
    }
}
