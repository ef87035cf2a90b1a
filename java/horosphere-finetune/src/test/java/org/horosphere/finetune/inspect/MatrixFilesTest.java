package org.horosphere.finetune.inspect;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.horosphere.finetune.SafeTensors;
import org.horosphere.finetune.TensorData;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MatrixFilesTest {
    @TempDir Path folder;

    private String file(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text).toString();
    }

    private String npy(int version, String type, String order, String shape, double... x)
            throws IOException {
        String header =
                "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }".formatted(type, order, shape);
        int prefix = version == 1 ? 10 : 12;
        byte[] text =
                (header + " ".repeat(63 - (prefix + header.length()) % 64) + "\n")
                        .getBytes(StandardCharsets.UTF_8);
        int width = type.charAt(2) - '0';
        ByteBuffer out =
                ByteBuffer.allocate(prefix + text.length + width * x.length)
                        .order(ByteOrder.LITTLE_ENDIAN);
        out.put((byte) 0x93).put("NUMPY".getBytes(StandardCharsets.UTF_8));
        out.put((byte) version).put((byte) 0);
        if (version == 1) {
            out.putShort((short) text.length);
        } else {
            out.putInt(text.length);
        }
        out.put(text);
        for (double v : x) {
            switch (width) {
                case 2 -> out.putShort(Float.floatToFloat16((float) v));
                case 4 -> out.putFloat((float) v);
                default -> out.putDouble(v);
            }
        }
        return Files.write(folder.resolve("x.npy"), out.array()).toString();
    }

    private static void is(Points points, int rows, int columns, double... x) {
        assertEquals(rows, points.count());
        assertEquals(columns, points.dim());
        assertArrayEquals(x, points.x());
    }

    @ParameterizedTest
    @CsvSource({"1, <f8", "1, <f4", "1, <f2", "2, <f8", "3, <f4"})
    void npyInEitherOrder(int version, String type) throws IOException {
        is(
                MatrixFiles.read(npy(version, type, "False", "(2, 3)", 1, 2, 3, 4, 5, -0.5)),
                2,
                3,
                1,
                2,
                3,
                4,
                5,
                -0.5);
        is(
                MatrixFiles.read(npy(version, type, "True", "(2, 3)", 1, 4, 2, 5, 3, -0.5)),
                2,
                3,
                1,
                2,
                3,
                4,
                5,
                -0.5);
    }

    @Test
    void npyThatIsNoMatrix() throws IOException {
        refused(npy(1, "<f8", "False", "(6,)", 1, 2, 3, 4, 5, 6), "1 dimensions");
        refused(npy(1, "<f8", "False", "()", 1), "0 dimensions");
        refused(npy(1, "<f8", "False", "(1, 2, 3)", 1, 2, 3, 4, 5, 6), "3 dimensions");
        refused(npy(1, "<f8", "False", "(1, 6)", 1, 2, 3, 4, 5, 6), "at least 2 rows");
        refused(npy(1, "<f8", "False", "(0, 6)"), "at least 2 rows");
        refused(npy(1, "<f8", "False", "(3, 0)"), "1 column");
        refused(npy(1, "<f8", "False", "(2, 4)", 1, 2, 3, 4, 5, 6), "truncated");
        refused(npy(1, "<i8", "False", "(2, 3)", 1, 2, 3, 4, 5, 6), "element type <i8");
        refused(npy(1, ">f8", "False", "(2, 3)", 1, 2, 3, 4, 5, 6), "element type >f8");
        refused(npy(1, "<f8", "False", "(2000000, 2000000)", 1), "too large");
        refused(npy(1, "<f8", "False", "(-2, 3)", 1), "at least 2 rows");
        refused(npy(1, "<f8", "False", "(99999999999, 3)", 1), "not understood or too large");
        refused(npy(9, "<f8", "False", "(2, 3)", 1), "damaged");
        refused(npy(1, "<f8", "False", "(2, 1)", 1, Double.NaN), "row 2, column 1 is NaN");
        refused(file("a.npy", "PK"), "not a .npy file");
        refused(file("b.npy", ""), "not a .npy file");
        refused(file("c.npy", "\u0093NUMPY\u0001\u0000\u00ff\u00ff"), "not a .npy file");
        byte[] whole = Files.readAllBytes(Path.of(npy(1, "<f8", "False", "(2, 1)", 1, 2)));
        for (int length = 0; length < whole.length; length++) {
            Path cut =
                    Files.write(folder.resolve("cut.npy"), java.util.Arrays.copyOf(whole, length));
            assertThrows(IllegalArgumentException.class, () -> MatrixFiles.read(cut.toString()));
        }
    }

    @Test
    void csvWithAndWithoutHeader() throws IOException {
        is(MatrixFiles.read(file("a.csv", "1,2\n3,-4e2\n")), 2, 2, 1, 2, 3, -400);
        is(MatrixFiles.read(file("b.csv", "x, y\n1, 2\r\n\n3, 4")), 2, 2, 1, 2, 3, 4);
        is(MatrixFiles.read(file("c.tsv", "1\t2\n3\t4\n")), 2, 2, 1, 2, 3, 4);
        is(MatrixFiles.read(file("d.csv", "1 2\n3  4\n")), 2, 2, 1, 2, 3, 4);
        is(MatrixFiles.read(file("e.csv", "1;2\n3;4\n")), 2, 2, 1, 2, 3, 4);
    }

    @Test
    void csvThatIsNoMatrix() throws IOException {
        refused(file("a.csv", ""), "0 rows");
        refused(file("a.csv", "1,2,3\n"), "1 rows and 3 columns");
        refused(file("a.csv", "x,y\n"), "0 rows");
        refused(file("a.csv", "1,2\n3\n"), "a.csv:2: has 1 columns, the rows before 2");
        refused(file("a.csv", "1,2\n3,x\n"), "a.csv:2: column 2 is 'x'");
        refused(file("a.csv", "1,2\n3,\n"), "a.csv:2: column 2 is ''");
        refused(file("a.csv", "1,2\n3,nan\n"), "column 2 is 'nan'");
        refused(file("a.csv", "1,2\n3,NaN\n"), "row 2, column 2 is NaN");
        refused(file("a.csv", "1,2\n3,1e999\n"), "row 2, column 2 is Infinity");
        Files.write(folder.resolve("b.csv"), new byte[] {(byte) 0xff, (byte) 0xfe, '1'});
        refused(folder.resolve("b.csv").toString(), "not UTF-8");
        refused(folder.resolve("none.csv").toString(), "not found");
        refused(folder.resolve("none.xyz").toString(), "expected .npy");
        Files.createDirectory(folder.resolve("dir.csv"));
        refused(folder.resolve("dir.csv").toString(), "cannot be read");
        Files.createDirectory(folder.resolve("dir.npy"));
        refused(folder.resolve("dir.npy").toString(), "cannot be read");
    }

    @Test
    void safetensorsByName() {
        Path file = folder.resolve("m.safetensors");
        SafeTensors.write(
                file,
                List.of(
                        TensorData.of("a", new float[] {1, 2, 3, 4, 5, 6}, 3, 2),
                        TensorData.of("v", new float[] {1, 2}, 2)),
                Map.of());
        is(MatrixFiles.read(file.toString()), 3, 2, 1, 2, 3, 4, 5, 6);
        is(MatrixFiles.read(file + ":a"), 3, 2, 1, 2, 3, 4, 5, 6);
        refused(file + ":v", "1 dimensions");
        refused(file + ":b", "no tensor of that name");
        SafeTensors.write(
                file,
                List.of(
                        TensorData.of("a", new float[] {1, 2}, 2, 1),
                        TensorData.of("b", new float[] {1, 2}, 2, 1)),
                Map.of());
        refused(file.toString(), "has 2 matrices");
        refused(folder.resolve("none.safetensors").toString(), "none.safetensors");
    }

    private static void refused(String location, String part) {
        String message =
                assertThrows(IllegalArgumentException.class, () -> MatrixFiles.read(location))
                        .getMessage();
        assertTrue(message.contains(part), message);
        assertTrue(!message.contains("\n"), message);
    }
}
