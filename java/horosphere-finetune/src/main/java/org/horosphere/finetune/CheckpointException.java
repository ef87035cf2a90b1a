package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;

/**
 * A checkpoint, configuration or adapter that cannot be read, written or used as it is. The message
 * is one line that names the file, the entry in it and what was expected.
 */
public final class CheckpointException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private static final int LONGEST = 1000;

    public CheckpointException(String message) {
        super(line(message));
    }

    public CheckpointException(String message, Throwable cause) {
        super(line(message), cause);
    }

    /** The reason of an I/O failure in words; the JDK's own message is often only the path. */
    public static String reason(IOException e) {
        if (e instanceof NoSuchFileException) {
            return "no such file or directory";
        }
        if (e instanceof AccessDeniedException) {
            return "permission denied";
        }
        if (e instanceof FileSystemException f && f.getReason() != null) {
            return f.getReason();
        }
        if (e instanceof JsonProcessingException json) {
            JsonLocation at = json.getLocation();
            return syntax(json)
                    + (at == null
                            ? ""
                            : " (line " + at.getLineNr() + ", column " + at.getColumnNr() + ")");
        }
        return e.getMessage() != null ? e.getMessage() : e.toString();
    }

    /** What is wrong with some JSON, without where, and without what Jackson says of its source. */
    static String syntax(JsonProcessingException e) {
        return e.getOriginalMessage()
                .replaceAll(" \\(start marker at \\[Source: .*?column: \\d+\\]\\)", "");
    }

    // Names out of a malformed file may hold line breaks or be megabytes long.
    private static String line(String message) {
        String line = message.replaceAll("\\p{Cntrl}+", " ");
        return line.length() <= LONGEST ? line : line.substring(0, LONGEST) + "...";
    }
}
