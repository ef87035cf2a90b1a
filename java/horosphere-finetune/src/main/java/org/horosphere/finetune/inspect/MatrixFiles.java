package org.horosphere.finetune.inspect;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.horosphere.finetune.CheckpointException;
import org.horosphere.finetune.SafeTensors;
import org.horosphere.finetune.TensorData;
import org.horosphere.finetune.TensorType;

/**
 * Reads a matrix, one point per row: {@code .npy} (float16, float32 or float64, little-endian, C or
 * Fortran order), {@code .csv} (commas, semicolons, tabs or blanks; one header line is skipped), or
 * {@code .safetensors} (the only matrix in it, or {@code FILE.safetensors:NAME}).
 *
 * <p>Every method throws {@link IllegalArgumentException} with one line naming the file and what is
 * wrong with it.
 */
public final class MatrixFiles {
    private static final byte[] NPY_MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
    private static final Pattern NPY_HEADER =
            Pattern.compile(
                    "\\{\\s*'descr':\\s*'([^']*)',\\s*'fortran_order':\\s*(True|False),"
                            + "\\s*'shape':\\s*\\(([^)]*)\\),?\\s*\\}\\s*");
    private static final Pattern SEPARATOR = Pattern.compile("\\s*[,;\\t]\\s*|\\s+");
    private static final String SAFETENSORS = ".safetensors";

    private MatrixFiles() {}

    /** A matrix of at least two rows, all numbers finite. */
    public static Points read(String location) {
        try {
            String lower = location.toLowerCase(Locale.ROOT);
            int tensor = lower.lastIndexOf(SAFETENSORS + ":");
            if (tensor >= 0) {
                int colon = tensor + SAFETENSORS.length();
                return safetensors(
                        location, location.substring(0, colon), location.substring(colon + 1));
            }
            if (lower.endsWith(SAFETENSORS)) {
                return safetensors(location, location, null);
            }
            if (lower.endsWith(".npy")) {
                return npy(location);
            }
            if (lower.endsWith(".csv") || lower.endsWith(".tsv") || lower.endsWith(".txt")) {
                return csv(location);
            }
            throw error(location, "expected .npy, .csv, .tsv or .safetensors");
        } catch (NoSuchFileException e) {
            throw error(location, "not found");
        } catch (CharacterCodingException e) {
            throw error(location, "not UTF-8");
        } catch (CheckpointException e) {
            throw new IllegalArgumentException(e.getMessage(), e);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    location + ": cannot be read: " + CheckpointException.reason(e), e);
        } catch (OutOfMemoryError e) {
            throw new IllegalArgumentException(location + ": cannot be read: " + e.getMessage(), e);
        }
    }

    private static IllegalArgumentException error(String location, String message) {
        return new IllegalArgumentException(location + ": " + message);
    }

    private static int size(String location, long rows, long columns) {
        if (rows < 2 || columns < 1) {
            throw error(
                    location,
                    "has %d rows and %d columns, expected at least 2 rows and 1 column"
                            .formatted(rows, columns));
        }
        if (rows > Integer.MAX_VALUE / columns - 8) {
            throw error(location, "%d x %d is too large".formatted(rows, columns));
        }
        return (int) (rows * columns);
    }

    private static Points safetensors(String location, String file, String name) {
        try (Arena arena = Arena.ofConfined()) {
            SafeTensors tensors = SafeTensors.open(Path.of(file), arena);
            List<TensorData> matrices = new ArrayList<>();
            for (String candidate : tensors.names()) {
                TensorData tensor = tensors.get(candidate);
                if (name == null ? tensor.shape().length == 2 : candidate.equals(name)) {
                    matrices.add(tensor);
                }
            }
            if (matrices.size() != 1) {
                throw error(
                        location,
                        name == null
                                ? "has %d matrices, name one: FILE.safetensors:NAME"
                                        .formatted(matrices.size())
                                : "no tensor of that name");
            }
            TensorData tensor = matrices.get(0);
            long[] shape = tensor.shape();
            if (shape.length != 2) {
                throw error(location, "has %d dimensions, expected 2".formatted(shape.length));
            }
            double[] x = new double[size(location, shape[0], shape[1])];
            if (tensor.type() == TensorType.F64) {
                MemorySegment.copy(
                        tensor.data(),
                        ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN),
                        0,
                        x,
                        0,
                        x.length);
            } else {
                float[] floats = tensor.toFloatArray();
                for (int i = 0; i < x.length; i++) {
                    x[i] = floats[i];
                }
            }
            return new Points(location, (int) shape[0], (int) shape[1], x);
        }
    }

    private static Points npy(String location) throws IOException {
        try (Arena arena = Arena.ofConfined();
                FileChannel channel = FileChannel.open(Path.of(location))) {
            MemorySegment file =
                    channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            if (file.byteSize() < 12
                    || MemorySegment.ofArray(NPY_MAGIC).mismatch(file.asSlice(0, NPY_MAGIC.length))
                            >= 0) {
                throw error(location, "not a .npy file");
            }
            int major = file.get(ValueLayout.JAVA_BYTE, 6);
            long length =
                    major == 1
                            ? Short.toUnsignedLong(
                                    file.get(
                                            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(
                                                    ByteOrder.LITTLE_ENDIAN),
                                            8))
                            : Integer.toUnsignedLong(
                                    file.get(
                                            ValueLayout.JAVA_INT_UNALIGNED.withOrder(
                                                    ByteOrder.LITTLE_ENDIAN),
                                            8));
            long start = (major == 1 ? 10 : 12) + length;
            if (major < 1 || major > 3 || start > file.byteSize()) {
                throw error(location, "damaged .npy header");
            }
            String header =
                    new String(
                            file.asSlice(start - length, length).toArray(ValueLayout.JAVA_BYTE),
                            StandardCharsets.UTF_8);
            Matcher m = NPY_HEADER.matcher(header);
            if (!m.matches()) {
                throw error(location, "not a plain array: " + header.strip());
            }
            String[] shape =
                    m.group(3).isBlank() ? new String[0] : m.group(3).strip().split("\\s*,\\s*");
            if (shape.length != 2) {
                throw error(
                        location, "has %d dimensions, expected a matrix".formatted(shape.length));
            }
            int rows;
            int columns;
            try {
                rows = Integer.parseInt(shape[0]);
                columns = Integer.parseInt(shape[1]);
            } catch (NumberFormatException e) {
                throw error(location, "shape (" + m.group(3) + ") is not understood or too large");
            }
            return npyData(
                    location,
                    file.asSlice(start),
                    m.group(1),
                    m.group(2).equals("True"),
                    rows,
                    columns);
        }
    }

    private static Points npyData(
            String location,
            MemorySegment data,
            String type,
            boolean fortran,
            int rows,
            int columns) {
        int count = size(location, rows, columns);
        int bytes =
                switch (type) {
                    case "<f2" -> 2;
                    case "<f4" -> 4;
                    case "<f8" -> 8;
                    default ->
                            throw error(
                                    location,
                                    "element type " + type + ", expected <f2, <f4 or <f8");
                };
        if (data.byteSize() < (long) count * bytes) {
            throw error(
                    location,
                    "truncated: %d bytes of data, expected %d"
                            .formatted(data.byteSize(), (long) count * bytes));
        }
        double[] x = new double[count];
        for (int i = 0; i < count; i++) {
            int at = fortran ? i % columns * rows + i / columns : i;
            x[i] =
                    switch (bytes) {
                        case 2 ->
                                Float.float16ToFloat(
                                        data.getAtIndex(
                                                ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(
                                                        ByteOrder.LITTLE_ENDIAN),
                                                at));
                        case 4 ->
                                data.getAtIndex(
                                        ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(
                                                ByteOrder.LITTLE_ENDIAN),
                                        at);
                        default ->
                                data.getAtIndex(
                                        ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(
                                                ByteOrder.LITTLE_ENDIAN),
                                        at);
                    };
        }
        return new Points(location, rows, columns, x);
    }

    private static Points csv(String location) throws IOException {
        List<double[]> rows = new ArrayList<>();
        int number = 0;
        for (String line : Files.readAllLines(Path.of(location))) {
            number++;
            if (line.isBlank()) {
                continue;
            }
            String[] cells = SEPARATOR.split(line.strip(), -1);
            double[] row = new double[cells.length];
            int bad = -1;
            for (int i = 0; i < cells.length; i++) {
                try {
                    row[i] = Double.parseDouble(cells[i]);
                } catch (NumberFormatException e) {
                    bad = i;
                    break;
                }
            }
            if (bad >= 0 && rows.isEmpty() && number == 1) {
                continue;
            }
            if (bad >= 0) {
                throw error(
                        location + ":" + number,
                        "column " + (bad + 1) + " is '" + cells[bad] + "', expected a number");
            }
            if (!rows.isEmpty() && rows.get(0).length != row.length) {
                throw error(
                        location + ":" + number,
                        "has %d columns, the rows before %d"
                                .formatted(row.length, rows.get(0).length));
            }
            rows.add(row);
        }
        int columns = rows.isEmpty() ? 0 : rows.get(0).length;
        double[] x = new double[size(location, rows.size(), columns)];
        for (int i = 0; i < rows.size(); i++) {
            System.arraycopy(rows.get(i), 0, x, i * columns, columns);
        }
        return new Points(location, rows.size(), columns, x);
    }
}
