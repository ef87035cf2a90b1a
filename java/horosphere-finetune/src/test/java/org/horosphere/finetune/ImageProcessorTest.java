package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Images become the numbers that Pillow and ViTImageProcessor give. */
class ImageProcessorTest {
    private static final Path FILE = Path.of("some.image");
    private static final double[] HALF = {0.5, 0.5, 0.5};

    @TempDir Path temporary;

    private static ImageProcessor of(int height, int width, ImageProcessor.Filter filter) {
        return new ImageProcessor(height, width, true, filter, 1 / 255.0, HALF, HALF);
    }

    /** A picture that is another one under every filter. */
    private static int sample(int x, int y, int channel) {
        return (x * 37 + y * 59 + channel * 83 + x * y * 7) % 256;
    }

    private static BufferedImage picture(int type, int width, int height) {
        BufferedImage image = new BufferedImage(width, height, type);
        int bands = image.getRaster().getNumBands();
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                for (int band = 0; band < bands; band++) {
                    image.getRaster().setSample(x, y, band, sample(x, y, band));
                }
            }
        }
        return image;
    }

    private static byte[] encoded(BufferedImage image, String format) {
        try {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            assertTrue(ImageIO.write(image, format, out));
            return out.toByteArray();
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** Two sums over the result, and its first numbers, as Pillow 12 computes them. */
    @ParameterizedTest
    @CsvSource({
        "NEAREST, 4, 6496, 156824, 59 142 225 147",
        "NEAREST, 8, 25216, 1204567, 0 83 166 37",
        "LANCZOS, 4, 6304, 153226, 61 160 133 128",
        "LANCZOS, 8, 25113, 1212678, 3 82 184 33",
        "BILINEAR, 4, 6294, 152888, 71 152 134 124",
        "BILINEAR, 8, 25081, 1212683, 9 92 175 40",
        "BICUBIC, 4, 6294, 153094, 62 155 136 126",
        "BICUBIC, 8, 25105, 1213293, 4 86 176 34",
        "BOX, 4, 6455, 157680, 50 133 152 131",
        "BOX, 8, 25286, 1210139, 0 83 166 37",
        "HAMMING, 4, 6309, 153189, 59 142 146 125",
        "HAMMING, 8, 25209, 1218609, 2 85 168 38"
    })
    void resizesAsPillow(
            ImageProcessor.Filter filter, int side, long sum, long weighted, String first) {
        byte[] png = encoded(picture(BufferedImage.TYPE_3BYTE_BGR, 7, 9), "png");
        byte[] rgb = of(side, side, filter).decode(FILE, png);
        long total = 0;
        long places = 0;
        for (int i = 0; i < rgb.length; i++) {
            total += rgb[i] & 0xFF;
            places += (rgb[i] & 0xFF) * (i % 97L);
        }
        assertEquals(sum, total);
        assertEquals(weighted, places);
        int[] head = new int[4];
        Arrays.setAll(head, i -> rgb[i] & 0xFF);
        assertArrayEquals(
                Arrays.stream(first.split(" ")).mapToInt(Integer::parseInt).toArray(), head);
    }

    @Test
    void everyKindOfPictureBecomesRedGreenAndBlue() {
        ImageProcessor same = of(9, 7, ImageProcessor.Filter.BILINEAR);
        byte[] colour =
                same.decode(FILE, encoded(picture(BufferedImage.TYPE_3BYTE_BGR, 7, 9), "png"));
        assertEquals((byte) sample(2, 3, 1), colour[(3 * 7 + 2) * 3 + 1]);
        byte[] bmp = encoded(picture(BufferedImage.TYPE_3BYTE_BGR, 7, 9), "bmp");
        assertArrayEquals(colour, same.decode(FILE, bmp));
        byte[] alpha = encoded(picture(BufferedImage.TYPE_4BYTE_ABGR, 7, 9), "png");
        assertArrayEquals(colour, same.decode(FILE, alpha), "alpha is dropped");
        byte[] grey =
                same.decode(FILE, encoded(picture(BufferedImage.TYPE_BYTE_GRAY, 7, 9), "png"));
        byte[] deep = same.decode(FILE, encoded(deepGrey(), "png"));
        BufferedImage two = new BufferedImage(7, 9, BufferedImage.TYPE_BYTE_BINARY);
        two.getRaster().setSample(2, 3, 0, 1);
        byte[] binary = same.decode(FILE, encoded(two, "png"));
        for (int i = 0; i < grey.length; i++) {
            int x = i / 3 % 7;
            int y = i / 21;
            assertEquals((byte) sample(x, y, 0), grey[i], "stored values, no colour profile");
            assertEquals((byte) sample(x, y, 0), deep[i]);
            assertEquals(x == 2 && y == 3 ? (byte) 255 : 0, binary[i]);
        }
        BufferedImage palette = new BufferedImage(7, 9, BufferedImage.TYPE_BYTE_INDEXED);
        palette.setRGB(2, 3, 0xFF3300);
        byte[] gif = same.decode(FILE, encoded(palette, "gif"));
        assertArrayEquals(new byte[] {(byte) 0xFF, 0x33, 0}, Arrays.copyOfRange(gif, 69, 72));
        byte[] dot = encoded(picture(BufferedImage.TYPE_3BYTE_BGR, 1, 1), "png");
        byte[] stretched = same.decode(FILE, dot);
        assertEquals((byte) 83, stretched[stretched.length - 2]);
    }

    private static BufferedImage deepGrey() {
        BufferedImage image = new BufferedImage(7, 9, BufferedImage.TYPE_USHORT_GRAY);
        for (int y = 0; y < 9; y++) {
            for (int x = 0; x < 7; x++) {
                image.getRaster().setSample(x, y, 0, sample(x, y, 0) << 8 | 17);
            }
        }
        return image;
    }

    @Test
    void scalesAndNormalisesByChannel() throws IOException {
        TinyVit.writeForPictures(temporary);
        VitConfig config = VitConfig.read(temporary);
        ImageProcessor usual = ImageProcessor.read(temporary, config);
        byte[] rgb = new byte[16 * 16 * 3];
        rgb[3] = (byte) 255;
        rgb[4] = 51;
        float[] out = new float[1 + rgb.length];
        usual.normalize(rgb, out, 1);
        assertEquals(1, out[1 + 1]);
        assertEquals(-0.6, out[1 + 256 + 1], 1e-7);
        assertEquals(-1, out[1 + 512]);

        Files.writeString(
                temporary.resolve("preprocessor_config.json"),
                """
                {"size": 16, "resample": 3, "do_rescale": false, "image_std": [2, 4, 8],
                 "image_mean": [1, 2, 3], "image_processor_type": "ViTImageProcessor"}
                """);
        ImageProcessor own = ImageProcessor.read(temporary, config);
        assertEquals(ImageProcessor.Filter.BICUBIC, own.filter());
        own.normalize(rgb, out, 1);
        assertEquals(127, out[1 + 1]);
        assertEquals(12.25, out[1 + 256 + 1]);
        assertEquals(-0.375, out[1 + 512]);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"size\": {\"height\": 16, \"width\": 17}}",
                "{\"size\": {\"shortest_edge\": 16}}",
                "{\"resample\": 6}",
                "{\"image_mean\": [1, 2]}",
                "{\"image_std\": [1, 0, 1]}",
                "{\"do_center_crop\": true}"
            })
    void whatIsNotSupportedIsRefused(String json) throws IOException {
        TinyVit.writeForPictures(temporary);
        Files.writeString(temporary.resolve("preprocessor_config.json"), json);
        VitConfig config = VitConfig.read(temporary);
        CheckpointException e =
                assertThrows(
                        CheckpointException.class, () -> ImageProcessor.read(temporary, config));
        String key = json.substring(2, json.indexOf('"', 2));
        assertTrue(e.getMessage().contains("preprocessor_config.json: "), e.getMessage());
        assertTrue(e.getMessage().contains(key), e.getMessage());
    }

    private static void refused(byte[] content, String reason) {
        DataException e =
                assertThrows(
                        DataException.class,
                        () -> of(4, 4, ImageProcessor.Filter.BILINEAR).decode(FILE, content));
        assertTrue(e.getMessage().startsWith("some.image: "), e.getMessage());
        assertTrue(e.getMessage().contains(reason), e.getMessage());
        assertTrue(e.getMessage().lines().count() == 1, e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"png", "jpg", "bmp", "gif"})
    void aFileThatWasCutShortIsNoImage(String format) {
        BufferedImage image = picture(BufferedImage.TYPE_3BYTE_BGR, 70, 90);
        byte[] whole = encoded(image, format);
        of(4, 4, ImageProcessor.Filter.BILINEAR).decode(FILE, whole);
        for (double part : new double[] {0.05, 0.5, 0.9}) {
            refused(Arrays.copyOf(whole, (int) (part * whole.length)), "");
        }
    }

    @Test
    void whatIsNoImageIsSaidToBeNone() {
        refused("hello".getBytes(StandardCharsets.UTF_8), "is no PNG, JPEG, BMP or GIF image");
        byte[] flipped = encoded(picture(BufferedImage.TYPE_3BYTE_BGR, 7, 9), "png");
        flipped[flipped.length / 2] ^= 0x55;
        refused(flipped, "damaged");
        refused(png(0, 5), "damaged");
        refused(png(100_000, 100_000), "has 100000 x 100000 pixels");
        refused(png(1 << 30, 1 << 30), "pixels");
        refused(png(900, 900), "damaged");
        ImageProcessor fixed =
                new ImageProcessor(4, 4, false, ImageProcessor.Filter.BILINEAR, 1, HALF, HALF);
        byte[] small = encoded(picture(BufferedImage.TYPE_3BYTE_BGR, 7, 9), "png");
        DataException e = assertThrows(DataException.class, () -> fixed.decode(FILE, small));
        assertTrue(e.getMessage().contains("7 x 9"), e.getMessage());
    }

    /** A PNG that says it has so many pixels and holds none. */
    private static byte[] png(int width, int height) {
        ByteBuffer out = ByteBuffer.allocate(200);
        out.putLong(0x89504E470D0A1A0AL);
        ByteBuffer header = ByteBuffer.allocate(13).putInt(width).putInt(height);
        header.put(new byte[] {8, 2, 0, 0, 0});
        chunk(out, "IHDR", header.array());
        Deflater deflater = new Deflater();
        deflater.finish();
        byte[] nothing = new byte[16];
        chunk(out, "IDAT", Arrays.copyOf(nothing, deflater.deflate(nothing)));
        chunk(out, "IEND", new byte[0]);
        return Arrays.copyOf(out.array(), out.position());
    }

    private static void chunk(ByteBuffer out, String type, byte[] content) {
        out.putInt(content.length);
        CRC32 crc = new CRC32();
        byte[] name = type.getBytes(StandardCharsets.US_ASCII);
        crc.update(name);
        crc.update(content);
        out.put(name).put(content).putInt((int) crc.getValue());
    }
}
