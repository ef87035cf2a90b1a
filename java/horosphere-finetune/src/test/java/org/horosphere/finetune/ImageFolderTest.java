package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Which file is of which class, and which part of the data. */
class ImageFolderTest {
    private static final Map<String, Integer> LABEL_OF = Map.of("cat", 1, "dog", 0);
    private static final List<String> LABELS = List.of("dog", "cat");

    @TempDir Path temporary;
    private Path root;

    @BeforeEach
    void name() {
        root = temporary.resolve("data");
    }

    private void put(String folder, int count) throws IOException {
        Path directory = Files.createDirectories(root.resolve(folder));
        for (int i = 0; i < count; i++) {
            Files.writeString(directory.resolve(i + ".png"), "not read here");
        }
    }

    private static void refused(String reason, Executable call) {
        DataException e = assertThrows(DataException.class, call);
        assertTrue(e.getMessage().contains(reason), e.getMessage());
    }

    @Test
    void aFolderPerClassIsSplitByTheSeed() throws IOException {
        put("cat/young", 20);
        put("cat/old", 20);
        put("dog", 25);
        put(".git", 3);
        put("dog/.thumbnails", 3);
        Files.writeString(root.resolve("LICENSE.txt"), "beside the classes");
        ImageFolder folder = ImageFolder.open(root);
        assertEquals(List.of("cat", "dog"), folder.classNames());
        ImageFolder.Split split = folder.split(LABELS, LABEL_OF, 1);
        assertEquals(4 + 2, split.test().size(), "a tenth of each class");
        assertEquals(5, split.validation().size(), "a tenth of the rest");
        List<ImageFolder.Image> all = new ArrayList<>(split.training());
        all.addAll(split.validation());
        all.addAll(split.test());
        assertEquals(65, all.size());
        assertEquals(65, new HashSet<>(all).size());
        for (ImageFolder.Image image : all) {
            String folderOf = root.relativize(image.file()).getName(0).toString();
            assertEquals(LABEL_OF.get(folderOf), image.label());
        }
        assertEquals(split, ImageFolder.open(root).split(LABELS, LABEL_OF, 1));
        assertNotEquals(split, folder.split(LABELS, LABEL_OF, 2));
        assertEquals(65, folder.evaluation(LABEL_OF).size(), "measured on all");
    }

    @Test
    void foldersOfPartsAreTakenAsTheyAre() throws IOException {
        put("train/cat", 10);
        put("train/dog", 10);
        put("test/cat", 3);
        ImageFolder folder = ImageFolder.open(root);
        ImageFolder.Split split = folder.split(LABELS, LABEL_OF, 1);
        assertEquals(18, split.training().size());
        assertEquals(2, split.validation().size());
        assertEquals(3, split.test().size());
        assertEquals(split.test(), folder.evaluation(LABEL_OF));
        put("validation/dog", 4);
        split = ImageFolder.open(root).split(LABELS, LABEL_OF, 1);
        assertEquals(20, split.training().size());
        assertEquals(4, split.validation().size());
        put("val/dog", 4);
        refused("has both", () -> ImageFolder.open(root));
    }

    @Test
    void classesAreFoundByTheirNames() throws IOException {
        put("Tabby", 1);
        put("1", 1);
        ImageFolder folder = ImageFolder.open(root);
        assertNull(folder.match(List.of("tabby, tabby cat", "other")));
        assertEquals(
                Map.of("Tabby", 0, "1", 2),
                folder.match(List.of("tabby, tabby cat", "other", "1")));
        Files.delete(root.resolve("Tabby/0.png"));
        Files.delete(root.resolve("Tabby"));
        assertEquals(Map.of("1", 1), ImageFolder.open(root).match(List.of("LABEL_0", "LABEL_1")));
        assertNull(ImageFolder.open(root).match(List.of("LABEL_0")));
        assertNull(ImageFolder.open(root).match(List.of("a", "b")));
    }

    @Test
    void whatCannotBeLearnedFromIsRefused() throws IOException {
        refused("no such directory", () -> ImageFolder.open(root));
        Files.createDirectories(root);
        refused("expected one for each class", () -> ImageFolder.open(root));
        put("cat", 4);
        refused("has one class, cat", () -> ImageFolder.open(root).split(LABELS, LABEL_OF, 1));
        Files.createDirectories(root.resolve("dog"));
        refused("dog: this class has no images", () -> ImageFolder.open(root));
        put("dog", 1);
        refused(
                "class dog has too few images",
                () -> ImageFolder.open(root).split(LABELS, LABEL_OF, 1));
        put("", 1);
        refused("0.png: is not in the folder of a class", () -> ImageFolder.open(root));
    }

    @Test
    void partsMustFitEachOther() throws IOException {
        put("test/cat", 2);
        refused("no folder train", () -> ImageFolder.open(root).split(LABELS, LABEL_OF, 1));
        put("train/dog", 3);
        put("train/bird", 3);
        refused(
                "class cat has no training images",
                () ->
                        ImageFolder.open(root)
                                .split(LABELS, Map.of("cat", 1, "dog", 0, "bird", 2), 1));
        Path alone = temporary.resolve("alone");
        Files.createDirectories(alone);
        Files.move(root.resolve("train"), alone.resolve("train"));
        refused("no test or val", () -> ImageFolder.open(alone).evaluation(Map.of()));
    }
}
