package org.horosphere.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.horosphere.finetune.AtomicFiles;
import org.horosphere.finetune.CheckpointException;

/** Machine-readable results. */
final class Reports {
    /** Keys as the reports that are written by hand have them. */
    private static final ObjectMapper JSON =
            new ObjectMapper().setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE);

    private Reports() {}

    /**
     * Writes a report, whole or not at all, and makes missing parents; does nothing if no file was
     * asked for.
     */
    static void writeJson(Path file, Object report) {
        if (file == null) {
            return;
        }
        try {
            Outputs.makeParents(file);
            AtomicFiles.writeString(
                    file, JSON.writerWithDefaultPrettyPrinter().writeValueAsString(report) + "\n");
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * Reads what {@link #writeJson} wrote.
     *
     * @throws CheckpointException if it is damaged
     */
    static <T> T readJson(Path file, Class<T> type) {
        try {
            return JSON.readValue(Files.readAllBytes(file), type);
        } catch (IOException e) {
            throw new CheckpointException(
                    file + ": cannot read: " + CheckpointException.reason(e), e);
        }
    }
}
