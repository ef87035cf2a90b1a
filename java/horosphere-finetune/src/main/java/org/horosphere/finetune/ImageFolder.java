package org.horosphere.finetune;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Images in a folder per class. A folder with a subfolder {@code train} has its classes there, and
 * beside it those that validate ({@code val}, {@code valid}, {@code validation}) and those held out
 * ({@code test}). Files and folders whose names begin with a dot are passed over; subfolders of a
 * class belong to it. Immutable.
 */
public final class ImageFolder {
    private static final Pattern IMAGE =
            Pattern.compile(".+\\.(png|jpe?g|bmp|gif)", Pattern.CASE_INSENSITIVE);
    private static final int MAX_VALIDATION = 64;
    private static final String TRAIN = "train";
    private static final String VALIDATION = "val";
    private static final String TEST = "test";

    /** Names of folders that mean one part of the data. */
    private static final Map<String, List<String>> PARTS =
            Map.of(
                    TRAIN, List.of("train"),
                    VALIDATION, List.of("val", "valid", "validation"),
                    TEST, List.of("test"));

    /**
     * An image.
     *
     * @param file where it is
     * @param label its class, an index into a model's labels
     */
    public record Image(Path file, int label) {}

    /**
     * What is learned from, what chooses the best state, and what is held out of both.
     *
     * @param labels the classes' names
     * @param training images
     * @param validation images
     * @param test images
     */
    public record Split(
            List<String> labels, List<Image> training, List<Image> validation, List<Image> test) {}

    private final Path root;

    /** By part; a folder without parts is the part "". */
    private final Map<String, Map<String, List<Path>>> parts = new HashMap<>();

    private ImageFolder(Path root) {
        this.root = root;
    }

    /**
     * Lists a folder.
     *
     * @throws DataException if it is missing, or a class has no files
     */
    public static ImageFolder open(Path root) {
        if (!Files.isDirectory(root)) {
            throw new DataException(root, "no such directory");
        }
        ImageFolder folder = new ImageFolder(root);
        PARTS.forEach(
                (part, names) -> {
                    List<Path> found =
                            names.stream().map(root::resolve).filter(Files::isDirectory).toList();
                    if (found.size() > 1) {
                        throw new DataException(
                                root,
                                "has both "
                                        + found.get(0).getFileName()
                                        + " and "
                                        + found.get(1).getFileName());
                    }
                    found.forEach(path -> folder.parts.put(part, classes(path)));
                });
        if (!folder.parts.containsKey(TRAIN)
                && !folder.parts.containsKey(TEST)
                && !folder.parts.containsKey(VALIDATION)) {
            folder.parts.put("", classes(root));
        }
        return folder;
    }

    private static Map<String, List<Path>> classes(Path folder) {
        Map<String, List<Path>> classes = new LinkedHashMap<>();
        for (Path entry : list(folder)) {
            if (!Files.isDirectory(entry)) {
                if (!IMAGE.matcher(entry.getFileName().toString()).matches()) {
                    continue; // lists and licences lie beside the folders of many collections
                }
                throw new DataException(
                        entry, "is not in the folder of a class; expected folders in " + folder);
            }
            List<Path> files = new ArrayList<>();
            addFiles(entry, files);
            if (files.isEmpty()) {
                throw new DataException(entry, "this class has no images");
            }
            classes.put(entry.getFileName().toString(), files);
        }
        if (classes.isEmpty()) {
            throw new DataException(folder, "has no folders; expected one for each class");
        }
        return classes;
    }

    private static void addFiles(Path folder, List<Path> files) {
        for (Path entry : list(folder)) {
            if (Files.isDirectory(entry)) {
                addFiles(entry, files);
            } else {
                files.add(entry);
            }
        }
    }

    /** Sorted by name, the same on every machine. */
    private static List<Path> list(Path folder) {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.filter(e -> !e.getFileName().toString().startsWith("."))
                    .sorted(
                            (a, b) ->
                                    a.getFileName()
                                            .toString()
                                            .compareTo(b.getFileName().toString()))
                    .toList();
        } catch (IOException e) {
            throw new DataException(folder, "cannot read: " + CheckpointException.reason(e), e);
        }
    }

    /** The names of all classes, sorted. */
    public List<String> classNames() {
        return parts.values().stream()
                .flatMap(classes -> classes.keySet().stream())
                .distinct()
                .sorted()
                .toList();
    }

    /**
     * Which of a model's classes each folder is: the one of its name, or of one of its names, which
     * are separated by commas, ignoring case; or, where no folder has such a name, all are numbers
     * and the model's classes are but numbered, the class of that number.
     *
     * @return by folder; null if a folder is none of them
     */
    public Map<String, Integer> match(List<String> labels) {
        Map<String, Integer> known = new HashMap<>();
        for (int i = 0; i < labels.size(); i++) {
            String label = labels.get(i).toLowerCase(Locale.ROOT);
            known.putIfAbsent(label.strip(), i);
            for (String synonym : label.split(",")) {
                known.putIfAbsent(synonym.strip(), i);
            }
        }
        boolean numbered =
                IntStream.range(0, labels.size()).allMatch(i -> labels.get(i).equals("LABEL_" + i));
        Map<String, Integer> result = new HashMap<>();
        for (String name : classNames()) {
            Integer label = known.get(name.toLowerCase(Locale.ROOT).strip());
            if (label == null && numbered && name.matches("[0-9]{1,9}")) {
                int number = Integer.parseInt(name);
                label = number < labels.size() ? (Integer) number : null;
            }
            if (label == null) {
                return null;
            }
            result.put(name, label);
        }
        return result;
    }

    /**
     * Training, validation and held-out images. What has no folder of its own is drawn from the
     * training images: a tenth of each class is held out, a tenth of the rest (64 images at most)
     * validates.
     *
     * @param labels the model's classes
     * @param labelOf the class of each folder, see {@link #match}
     * @throws DataException if there are too few classes or images
     */
    public Split split(List<String> labels, Map<String, Integer> labelOf, long seed) {
        Map<String, List<Path>> source = parts.getOrDefault(TRAIN, parts.get(""));
        if (source == null) {
            throw new DataException(root, "has no folder train");
        }
        if (source.size() < 2) {
            throw new DataException(
                    root,
                    "has one class, "
                            + source.keySet().iterator().next()
                            + "; expected two or more");
        }
        for (String name : classNames()) {
            if (!source.containsKey(name)) {
                throw new DataException(root, "class " + name + " has no training images");
            }
        }
        List<Image> training = new ArrayList<>();
        List<Image> test = new ArrayList<>();
        boolean drawTest = !parts.containsKey(TEST);
        for (Map.Entry<String, List<Path>> entry : source.entrySet()) {
            List<Path> files = new ArrayList<>(entry.getValue());
            Collections.shuffle(files, new Random(seed * 31 + entry.getKey().hashCode()));
            int held = drawTest ? Math.max(1, files.size() / 10) : 0;
            if (files.size() - held < 1) {
                throw new DataException(
                        root, "class " + entry.getKey() + " has too few images to hold one out");
            }
            int label = labelOf.get(entry.getKey());
            files.subList(0, held).forEach(f -> test.add(new Image(f, label)));
            for (Path file : files.subList(held, files.size())) {
                training.add(new Image(file, label));
            }
        }
        if (!drawTest) {
            test.addAll(images(TEST, labelOf));
        }
        List<Image> validation = new ArrayList<>();
        if (parts.containsKey(VALIDATION)) {
            validation.addAll(images(VALIDATION, labelOf));
        } else {
            Collections.shuffle(training, new Random(seed));
            int count = Math.min(MAX_VALIDATION, Math.max(1, training.size() / 10));
            if (training.size() - count < 1) {
                throw new DataException(root, "has too few images to train and validate");
            }
            validation.addAll(training.subList(0, count));
            training = new ArrayList<>(training.subList(count, training.size()));
        }
        return new Split(
                List.copyOf(labels),
                List.copyOf(training),
                List.copyOf(validation),
                List.copyOf(test));
    }

    /**
     * The images to measure a model on: those held out, else those that validate, else all.
     *
     * @throws DataException if there are only training images
     */
    public List<Image> evaluation(Map<String, Integer> labelOf) {
        for (String part : List.of(TEST, VALIDATION, "")) {
            if (parts.containsKey(part)) {
                return images(part, labelOf);
            }
        }
        throw new DataException(root, "has a folder train, but no test or val to measure on");
    }

    private List<Image> images(String part, Map<String, Integer> labelOf) {
        return parts.get(part).entrySet().stream()
                .flatMap(
                        entry ->
                                entry.getValue().stream()
                                        .map(f -> new Image(f, labelOf.get(entry.getKey()))))
                .collect(Collectors.toUnmodifiableList());
    }

    /** The folder. */
    public Path root() {
        return root;
    }
}
