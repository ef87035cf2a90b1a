package org.horosphere.finetune;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Iterator;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * Images as a model reads them: decoded, resized as Pillow does (with antialiasing, to 8 bits),
 * scaled and normalised, following {@code preprocessor_config.json} as ViTImageProcessor of
 * transformers does. An alpha channel is dropped, grey becomes colour, the first picture of an
 * animation counts. Immutable, safe from any thread.
 *
 * @param height of the model's images
 * @param width of the model's images
 * @param resize whether images are resized; else they must have that size
 * @param filter how
 * @param scale what 8-bit values are multiplied by
 * @param mean subtracted, by channel
 * @param deviation divided by, by channel
 */
public record ImageProcessor(
        int height,
        int width,
        boolean resize,
        Filter filter,
        double scale,
        double[] mean,
        double[] deviation) {
    /** Larger pictures are refused: they would take gigabytes. */
    private static final long LARGEST = 1L << 28;

    private static final String FILE = "preprocessor_config.json";
    private static final int CHANNELS = 3;
    private static final int PRECISION = 22;

    /** Resampling filters, in the order of Pillow's numbers. */
    public enum Filter {
        NEAREST(0),
        LANCZOS(3),
        BILINEAR(1),
        BICUBIC(2),
        BOX(0.5),
        HAMMING(1);

        private final double support;

        Filter(double support) {
            this.support = support;
        }

        private double at(double distance) {
            double x = Math.abs(distance);
            return switch (this) {
                case NEAREST -> throw new IllegalStateException("nearest has no weights");
                case BOX -> distance > -0.5 && distance <= 0.5 ? 1 : 0;
                case BILINEAR -> x < 1 ? 1 - x : 0;
                case HAMMING ->
                        x == 0 ? 1 : x >= 1 ? 0 : sinc(x) * (0.54f + 0.46f * Math.cos(Math.PI * x));
                case BICUBIC ->
                        x < 1
                                ? (1.5 * x - 2.5) * x * x + 1
                                : x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
                case LANCZOS -> distance >= -3 && distance < 3 ? sinc(x) * sinc(x / 3) : 0;
            };
        }

        private static double sinc(double x) {
            return x == 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
        }
    }

    public ImageProcessor {
        mean = mean.clone();
        deviation = deviation.clone();
    }

    /**
     * What a model directory asks for; ViTImageProcessor's defaults where it does not say.
     *
     * @throws CheckpointException if it asks for something that is not supported
     */
    public static ImageProcessor read(Path directory, VitConfig config) {
        if (config.channels() != CHANNELS) {
            throw new CheckpointException(
                    "%s: num_channels is %d, images have %d"
                            .formatted(directory, config.channels(), CHANNELS));
        }
        Path file = directory.resolve(FILE);
        int height = config.imageHeight();
        int width = config.imageWidth();
        double[] half = {0.5, 0.5, 0.5};
        if (!Files.exists(file)) {
            return new ImageProcessor(height, width, true, Filter.BILINEAR, 1 / 255.0, half, half);
        }
        Json json = Json.read(file);
        if (json.flag("do_center_crop", false)) {
            throw json.error("do_center_crop is true: cropping is not supported");
        }
        requireSize(json, height, width);
        double scale = json.flag("do_rescale", true) ? json.number("rescale_factor", 1 / 255.0) : 1;
        boolean normalize = json.flag("do_normalize", true);
        double[] none = {0, 0, 0};
        double[] one = {1, 1, 1};
        double[] deviation = normalize ? channels(json, "image_std", half) : one;
        for (double d : deviation) {
            if (!(d > 0)) {
                throw json.wrong("image_std", "numbers above 0");
            }
        }
        return new ImageProcessor(
                height,
                width,
                json.flag("do_resize", true),
                filter(json),
                scale,
                normalize ? channels(json, "image_mean", half) : none,
                deviation);
    }

    private static void requireSize(Json json, int height, int width) {
        JsonNode size = json.get("size");
        if (size == null) {
            return;
        }
        int[] wanted = new int[2];
        if (size.isIntegralNumber()) {
            wanted[0] = json.count("size");
            wanted[1] = wanted[0];
        } else {
            Json sides = json.object("size");
            if (!sides.has("height") || !sides.has("width")) {
                throw json.wrong("size", "height and width");
            }
            wanted[0] = sides.count("height");
            wanted[1] = sides.count("width");
        }
        if (wanted[0] != height || wanted[1] != width) {
            throw json.error(
                    "size is %d x %d, the model's images are %d x %d"
                            .formatted(wanted[0], wanted[1], height, width));
        }
    }

    private static Filter filter(Json json) {
        double number = json.number("resample", Filter.BILINEAR.ordinal());
        if (number != Math.rint(number) || number < 0 || number >= Filter.values().length) {
            throw json.wrong("resample", "0 to 5, Pillow's numbers");
        }
        return Filter.values()[(int) number];
    }

    private static double[] channels(Json json, String key, double[] absent) {
        JsonNode value = json.get(key);
        if (value == null) {
            return absent;
        }
        double[] numbers = new double[CHANNELS];
        if (value.isNumber()) {
            Arrays.fill(numbers, json.number(key));
            return numbers;
        }
        if (!value.isArray() || value.size() != CHANNELS) {
            throw json.wrong(key, CHANNELS + " numbers");
        }
        for (int i = 0; i < CHANNELS; i++) {
            if (!value.get(i).isNumber()) {
                throw json.wrong(key, CHANNELS + " numbers");
            }
            numbers[i] = value.get(i).doubleValue();
        }
        return numbers;
    }

    /**
     * An image at the model's size.
     *
     * @param file for messages
     * @param content of the file: PNG, JPEG, BMP or GIF
     * @return (height, width, 3) red, green and blue, row-major
     * @throws DataException if it is no such image, is damaged, or does not fit
     */
    byte[] decode(Path file, byte[] content) {
        Picture picture = read(file, content);
        if (picture.width == width && picture.height == height) {
            return picture.rgb;
        }
        if (!resize) {
            throw new DataException(
                    file,
                    "has %d x %d pixels, the model reads %d x %d and do_resize is false"
                            .formatted(picture.width, picture.height, width, height));
        }
        return resized(picture);
    }

    /**
     * Scales, normalises and turns (height, width, channel) into (channel, height, width).
     *
     * @param to 3 × height × width numbers from {@code at} on
     */
    void normalize(byte[] rgb, float[] to, int at) {
        int pixels = height * width;
        float[] table = new float[256];
        for (int c = 0; c < CHANNELS; c++) {
            for (int v = 0; v < table.length; v++) {
                float scaled = (float) (v * scale);
                table[v] = (scaled - (float) mean[c]) / (float) deviation[c];
            }
            for (int i = 0; i < pixels; i++) {
                to[at + c * pixels + i] = table[rgb[i * CHANNELS + c] & 0xFF];
            }
        }
    }

    // ---- Decoding

    private record Picture(int width, int height, byte[] rgb) {}

    private static Picture read(Path file, byte[] content) {
        try (ImageInputStream in =
                new MemoryCacheImageInputStream(new ByteArrayInputStream(content))) {
            Iterator<ImageReader> readers = ImageIO.getImageReaders(in);
            if (!readers.hasNext()) {
                throw new DataException(file, "is no PNG, JPEG, BMP or GIF image");
            }
            ImageReader reader = readers.next();
            try {
                return read(file, reader, in);
            } finally {
                reader.dispose();
            }
        } catch (IOException e) {
            throw new DataException(file, "is a damaged image: " + reason(e));
        } catch (IllegalArgumentException
                | IndexOutOfBoundsException
                | NegativeArraySizeException e) {
            // what the decoders of the JDK throw at some malformed files
            throw new DataException(file, "is a damaged image");
        }
    }

    private static String reason(IOException e) {
        String message = e.getMessage() == null ? "cut short" : e.getMessage();
        return message.lines().findFirst().orElse("cut short");
    }

    private static Picture read(Path file, ImageReader reader, ImageInputStream in)
            throws IOException {
        String[] cut = new String[1];
        reader.addIIOReadWarningListener(
                (source, warning) -> {
                    if (warning.contains("runcated") || warning.contains("remature")) {
                        cut[0] = warning;
                    }
                });
        reader.setInput(in, false, true);
        long pixels = (long) reader.getWidth(0) * reader.getHeight(0);
        if (pixels > LARGEST) {
            throw new DataException(
                    file,
                    "has %d x %d pixels, at most %d are read"
                            .formatted(reader.getWidth(0), reader.getHeight(0), LARGEST));
        }
        BufferedImage image;
        try {
            image = reader.read(0);
        } catch (IOException e) {
            if (String.valueOf(e.getMessage()).contains("Unsupported Image Type")) {
                throw otherColours(file);
            }
            throw e;
        }
        if (cut[0] != null) {
            throw new DataException(file, "is a damaged image: " + cut[0]);
        }
        return new Picture(image.getWidth(), image.getHeight(), rgb(file, image));
    }

    private static DataException otherColours(Path file) {
        return new DataException(file, "has colours that are neither RGB nor grey: convert it");
    }

    /** The stored values: a conversion by colour profiles would give others than Pillow. */
    private static byte[] rgb(Path file, BufferedImage image) {
        int width = image.getWidth();
        int height = image.getHeight();
        byte[] rgb = new byte[Math.multiplyExact(Math.multiplyExact(width, height), CHANNELS)];
        Raster raster = image.getRaster();
        if (image.getColorModel() instanceof IndexColorModel palette) {
            int[] indices = new int[width];
            for (int y = 0; y < height; y++) {
                raster.getSamples(0, y, width, 1, 0, indices);
                for (int x = 0; x < width; x++) {
                    int at = (y * width + x) * CHANNELS;
                    rgb[at] = (byte) palette.getRed(indices[x]);
                    rgb[at + 1] = (byte) palette.getGreen(indices[x]);
                    rgb[at + 2] = (byte) palette.getBlue(indices[x]);
                }
            }
            return rgb;
        }
        int bands = raster.getNumBands();
        int kind = image.getColorModel().getColorSpace().getType();
        if (kind == ColorSpace.TYPE_CMYK && bands == CHANNELS + 1) {
            return inks(raster);
        }
        if (kind != ColorSpace.TYPE_RGB && kind != ColorSpace.TYPE_GRAY || bands > CHANNELS + 1) {
            throw otherColours(file);
        }
        int[] samples = new int[width];
        for (int c = 0; c < CHANNELS; c++) {
            int band = bands < CHANNELS ? 0 : c;
            int bits = raster.getSampleModel().getSampleSize(band);
            for (int y = 0; y < height; y++) {
                raster.getSamples(0, y, width, 1, band, samples);
                for (int x = 0; x < width; x++) {
                    int value =
                            bits >= 8
                                    ? samples[x] >> bits - 8
                                    : samples[x] * 255 / ((1 << bits) - 1);
                    rgb[(y * width + x) * CHANNELS + c] = (byte) value;
                }
            }
        }
        return rgb;
    }

    /** Cyan, magenta, yellow and black as Pillow converts them. */
    private static byte[] inks(Raster raster) {
        int width = raster.getWidth();
        byte[] rgb = new byte[width * raster.getHeight() * CHANNELS];
        int[] row = new int[width * (CHANNELS + 1)];
        int at = 0;
        for (int y = 0; y < raster.getHeight(); y++) {
            raster.getPixels(0, y, width, 1, row);
            for (int x = 0; x < row.length; x += CHANNELS + 1) {
                int light = 255 - row[x + CHANNELS];
                for (int c = 0; c < CHANNELS; c++) {
                    int product = row[x + c] * light + 128;
                    rgb[at++] = (byte) (light - ((product >> 8) + product >> 8));
                }
            }
        }
        return rgb;
    }

    // ---- Resizing, as Pillow's Resample.c for 8-bit images: fixed-point weights, along x, then y

    private byte[] resized(Picture picture) {
        if (filter == Filter.NEAREST) {
            return nearest(picture);
        }
        byte[] across = picture.rgb;
        if (picture.width != width) {
            Weights weights = new Weights(filter, picture.width, width);
            across = new byte[picture.height * width * CHANNELS];
            for (int y = 0; y < picture.height; y++) {
                weights.apply(
                        picture.rgb,
                        y * picture.width * CHANNELS,
                        CHANNELS,
                        across,
                        y * width * CHANNELS,
                        CHANNELS);
            }
        }
        if (picture.height == height) {
            return across;
        }
        Weights weights = new Weights(filter, picture.height, height);
        byte[] result = new byte[height * width * CHANNELS];
        int row = width * CHANNELS;
        for (int x = 0; x < width; x++) {
            weights.apply(across, x * CHANNELS, row, result, x * CHANNELS, row);
        }
        return result;
    }

    private byte[] nearest(Picture picture) {
        byte[] result = new byte[height * width * CHANNELS];
        for (int y = 0; y < height; y++) {
            int fromY = (int) ((y + 0.5) * picture.height / height);
            for (int x = 0; x < width; x++) {
                int fromX = (int) ((x + 0.5) * picture.width / width);
                System.arraycopy(
                        picture.rgb,
                        (fromY * picture.width + fromX) * CHANNELS,
                        result,
                        (y * width + x) * CHANNELS,
                        CHANNELS);
            }
        }
        return result;
    }

    /** Which samples of a line make up each of its resized samples. */
    private static final class Weights {
        private final int[] first;
        private final int[][] weights;

        Weights(Filter filter, int from, int to) {
            first = new int[to];
            weights = new int[to][];
            double scale = (double) from / to;
            double stretch = Math.max(1, scale);
            double support = filter.support * stretch;
            for (int i = 0; i < to; i++) {
                double centre = (i + 0.5) * scale;
                int low = Math.max(0, (int) (centre - support + 0.5));
                int high = Math.min(from, (int) (centre + support + 0.5));
                double[] exact = new double[high - low];
                double sum = 0;
                for (int j = 0; j < exact.length; j++) {
                    exact[j] = filter.at((j + low - centre + 0.5) / stretch);
                    sum += exact[j];
                }
                int[] fixed = new int[exact.length];
                for (int j = 0; j < fixed.length; j++) {
                    double weight = sum == 0 ? exact[j] : exact[j] / sum;
                    fixed[j] = (int) (weight * (1 << PRECISION) + (weight < 0 ? -0.5 : 0.5));
                }
                first[i] = low;
                weights[i] = fixed;
            }
        }

        /** Three channels of one line; strides are between samples. */
        void apply(byte[] from, int at, int stride, byte[] to, int toAt, int toStride) {
            for (int i = 0; i < first.length; i++) {
                int red = 1 << PRECISION - 1;
                int green = red;
                int blue = red;
                int p = at + first[i] * stride;
                for (int weight : weights[i]) {
                    red += weight * (from[p] & 0xFF);
                    green += weight * (from[p + 1] & 0xFF);
                    blue += weight * (from[p + 2] & 0xFF);
                    p += stride;
                }
                int q = toAt + i * toStride;
                to[q] = clip(red);
                to[q + 1] = clip(green);
                to[q + 2] = clip(blue);
            }
        }

        private static byte clip(int value) {
            return (byte) Math.max(0, Math.min(255, value >> PRECISION));
        }
    }
}
