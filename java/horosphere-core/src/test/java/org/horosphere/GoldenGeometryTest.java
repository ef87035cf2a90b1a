package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;

/**
 * Every row operation against reference vectors made with 200 digits, where they are present: a
 * directory {@code golden} under {@code -Dhoro.shared}, {@code HORO_SHARED} or {@code ../shared}
 * beside the repository. A row passes if its error is at most 64 ulps of its length plus its
 * conditioning.
 */
class GoldenGeometryTest {
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED;

    /** A safetensors file: its header and its data. */
    private record Tensors(JsonNode header, MemorySegment data) {
        static Tensors open(Path file, Arena arena) {
            try (FileChannel channel = FileChannel.open(file)) {
                MemorySegment all =
                        channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
                long length = all.get(LONG, 0);
                byte[] json = all.asSlice(8, length).toArray(ValueLayout.JAVA_BYTE);
                return new Tensors(new ObjectMapper().readTree(json), all.asSlice(8 + length));
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        }

        /** The numbers of a tensor, null if there is none of that name. */
        double[] get(String name) {
            JsonNode entry = header.get(name);
            if (entry == null) {
                return null;
            }
            long from = entry.get("data_offsets").get(0).asLong();
            long to = entry.get("data_offsets").get(1).asLong();
            String type = entry.get("dtype").asText();
            int bytes = Integer.parseInt(type.substring(1)) / 8;
            double[] values = new double[(int) ((to - from) / bytes)];
            for (int i = 0; i < values.length; i++) {
                long at = from + (long) i * bytes;
                values[i] =
                        switch (type) {
                            case "F32" -> data.get(ValueLayout.JAVA_FLOAT_UNALIGNED, at);
                            case "F64" -> data.get(ValueLayout.JAVA_DOUBLE_UNALIGNED, at);
                            case "I32" -> data.get(ValueLayout.JAVA_INT_UNALIGNED, at);
                            case "I64" -> data.get(LONG, at);
                            default -> throw new IllegalStateException(name + ": " + type);
                        };
            }
            return values;
        }
    }

    private final List<String> failures = new ArrayList<>();
    private int checked;
    private double worst;

    @Test
    void everyRowIsWithinTheBound() throws IOException {
        Path golden =
                Stream.of(
                                System.getProperty("horo.shared"),
                                System.getenv("HORO_SHARED"),
                                "../../../shared")
                        .filter(Objects::nonNull)
                        .map(root -> Path.of(root, "golden"))
                        .filter(Files::exists)
                        .findFirst()
                        .orElse(null);
        assumeTrue(golden != null, "golden vectors are not present, set HORO_SHARED");
        Map<String, RowOp> operations = new HashMap<>();
        RowOp.all().forEach(op -> operations.put(op.name(), op));
        Set<String> met = new HashSet<>();
        try (Arena arena = Arena.ofConfined()) {
            Map<String, Tensors> files = new HashMap<>();
            JsonNode index = new ObjectMapper().readTree(golden.resolve("index.json").toFile());
            for (JsonNode c : index.get("cases")) {
                RowOp op = operations.get(c.get("op").asText());
                if (op != null) {
                    met.add(op.name());
                    String file = c.get("file").asText();
                    check(
                            c,
                            op,
                            files.computeIfAbsent(
                                    file, f -> Tensors.open(golden.resolve(f), arena)));
                }
            }
        }
        System.out.printf(
                "%d rows of %d operations, worst error %.4f of what is allowed%n",
                checked, met.size(), worst);
        assertTrue(met.size() >= 26, "cases for " + met + " only");
        assertTrue(checked > 30_000, checked + " rows");
        assertTrue(
                failures.isEmpty(),
                () ->
                        failures.size()
                                + " of "
                                + checked
                                + " rows: "
                                + failures.subList(0, Math.min(20, failures.size())));
    }

    private void check(JsonNode c, RowOp op, Tensors tensors) {
        String prefix = c.get("prefix").asText();
        int rows = c.get("rows").asInt();
        int dim = c.get("dim").asInt();
        DType dtype = DType.valueOf(c.get("dtype").asText());
        double[] params =
                op.parameters().stream()
                        .mapToDouble(p -> c.get("params").get(p).asDouble())
                        .toArray();
        List<double[]> in = new ArrayList<>();
        for (RowOp.Operand operand : op.inputs()) {
            in.add(tensors.get(prefix + operand.name()));
        }
        int[] all = new int[rows];
        java.util.Arrays.setAll(all, r -> r);
        double[] out = run(op, dtype, rows, dim, in, params).get(0);
        compare(
                c,
                "out",
                out,
                tensors.get(prefix + "out"),
                tensors.get(prefix + "sens_out"),
                all,
                dtype);

        double[] chosen = tensors.get(prefix + "vjp_rows");
        int[] vjpRows = new int[chosen.length];
        for (int i = 0; i < vjpRows.length; i++) {
            vjpRows[i] = (int) chosen[i];
        }
        List<double[]> picked = new ArrayList<>();
        for (double[] values : in) {
            int width = values.length / rows;
            double[] some = new double[vjpRows.length * width];
            for (int i = 0; i < vjpRows.length; i++) {
                System.arraycopy(values, vjpRows[i] * width, some, i * width, width);
            }
            picked.add(some);
        }
        picked.add(tensors.get(prefix + "cot"));
        RowOp vjp = op.vjp();
        List<double[]> gradients = run(vjp, dtype, vjpRows.length, dim, picked, params);
        for (int j = 0; j < gradients.size(); j++) {
            String name = vjp.outputs().get(j).name();
            double[] want = tensors.get(prefix + name);
            if (want != null) {
                double[] got = gradients.get(j);
                if (want.length == vjpRows.length * dim && got.length > want.length) {
                    got = spacePart(got, dim);
                }
                compare(c, name, got, want, tensors.get(prefix + "sens_" + name), vjpRows, dtype);
            }
        }
    }

    /** Gradients of points are along the hyperboloid: that of the time is zero. */
    private static double[] spacePart(double[] ambient, int dim) {
        double[] space = new double[ambient.length / (dim + 1) * dim];
        for (int row = 0; row * dim < space.length; row++) {
            assertEquals(0, ambient[row * (dim + 1)]);
            System.arraycopy(ambient, row * (dim + 1) + 1, space, row * dim, dim);
        }
        return space;
    }

    private static List<double[]> run(
            RowOp op, DType dtype, int rows, int dim, List<double[]> in, double[] params) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment[] inputs = new MemorySegment[in.size()];
            for (int i = 0; i < inputs.length; i++) {
                inputs[i] = arena.allocate((long) in.get(i).length * dtype.bytes(), dtype.bytes());
                for (int k = 0; k < in.get(i).length; k++) {
                    if (dtype == DType.F32) {
                        inputs[i].setAtIndex(ValueLayout.JAVA_FLOAT, k, (float) in.get(i)[k]);
                    } else {
                        inputs[i].setAtIndex(ValueLayout.JAVA_DOUBLE, k, in.get(i)[k]);
                    }
                }
            }
            MemorySegment[] outputs = new MemorySegment[op.outputs().size()];
            for (int j = 0; j < outputs.length; j++) {
                long width = op.outputs().get(j).kind().width(dim);
                outputs[j] = arena.allocate(rows * width * dtype.bytes(), dtype.bytes());
            }
            op.run(Exec.CPU, dtype, rows, dim, inputs, null, outputs, null, params);
            List<double[]> result = new ArrayList<>();
            for (MemorySegment output : outputs) {
                result.add(
                        dtype == DType.F64
                                ? output.toArray(ValueLayout.JAVA_DOUBLE)
                                : floats(output.toArray(ValueLayout.JAVA_FLOAT)));
            }
            return result;
        }
    }

    private static double[] floats(float[] values) {
        double[] result = new double[values.length];
        for (int i = 0; i < values.length; i++) {
            result[i] = values[i];
        }
        return result;
    }

    private void compare(
            JsonNode c,
            String name,
            double[] got,
            double[] want,
            double[] sens,
            int[] rows,
            DType dtype) {
        double k = c.get("tol").get("k").asDouble() * c.get("tol").get("eps").asDouble();
        Set<Integer> nondifferentiable = new HashSet<>();
        if (name.startsWith("g_") && c.hasNonNull("nondiff_rows")) {
            StreamSupport.stream(c.get("nondiff_rows").spliterator(), false)
                    .forEach(row -> nondifferentiable.add(row.asInt()));
        }
        int width = want.length / rows.length;
        for (int i = 0; i < rows.length; i++) {
            double error = 0;
            double length = 0;
            for (int j = i * width; j < (i + 1) * width; j++) {
                error = Math.hypot(error, got[j] - want[j]);
                length = Math.hypot(length, want[j]);
            }
            if (nondifferentiable.contains(rows[i])) {
                length = sens[i] = error = error == 0 ? 0 : Double.NaN; // the convention: exactly 0
            }
            // a result below the storage type's range is rounded to its smallest number
            double tiny = dtype == DType.F32 ? Float.MIN_VALUE : Double.MIN_VALUE;
            double limit = k * (length + sens[i]) + tiny * Math.sqrt(width);
            checked++;
            worst = Math.max(worst, error / limit);
            if (!(error <= limit)) {
                failures.add(
                        c.get("id").asText()
                                + " "
                                + name
                                + " row "
                                + rows[i]
                                + ": "
                                + error / limit);
            }
        }
    }
}
