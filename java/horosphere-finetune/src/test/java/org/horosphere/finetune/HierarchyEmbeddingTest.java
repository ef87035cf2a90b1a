package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.horosphere.Exec;
import org.horosphere.Lorentz;
import org.horosphere.Manifold;
import org.horosphere.PoincareBall;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HierarchyEmbeddingTest {
    @TempDir Path folder;

    /** The transitive closure of a binary tree. */
    private static Hierarchy tree(int nodes) {
        List<String> labels = new ArrayList<>();
        List<int[]> edges = new ArrayList<>();
        for (int i = 1; i <= nodes; i++) {
            labels.add(i == 1 ? "root & <all>" : "n" + i);
            for (int above = i / 2; above >= 1; above /= 2) {
                edges.add(new int[] {i - 1, above - 1});
            }
        }
        return new Hierarchy(
                labels,
                edges.stream().mapToInt(e -> e[0]).toArray(),
                edges.stream().mapToInt(e -> e[1]).toArray(),
                List.of());
    }

    private static HierarchyEmbedding embed(Exec exec, double c, int dim, int epochs) {
        return embed(new PoincareBall(c, exec), dim, epochs);
    }

    private static HierarchyEmbedding embed(Manifold manifold, int dim, int epochs) {
        return HierarchyEmbedding.train(
                tree(63),
                manifold,
                new HierarchyEmbedding.Options(dim, epochs, 0.3, 5, 10, 10, 1),
                (epoch, loss) -> {});
    }

    @Test
    void aTreeIsReconstructed() {
        for (Manifold manifold :
                List.of(new PoincareBall(1), new PoincareBall(0.25), new Lorentz(2))) {
            HierarchyEmbedding.Reconstruction before = embed(manifold, 5, 0).reconstruction();
            HierarchyEmbedding.Reconstruction after = embed(manifold, 5, 150).reconstruction();
            assertEquals(62, after.nodes());
            assertTrue(before.map() < 0.4 && before.meanRank() > 10, before.toString());
            assertTrue(after.map() > 0.95 && after.meanRank() < 1.3, after.toString());
        }
    }

    @Test
    void reconstructionIsThatOfItsDefinition() {
        HierarchyEmbedding untrained = embed(Exec.CPU, 1, 2, 0);
        HierarchyEmbedding.Reconstruction r = untrained.reconstruction();
        int[][] parents = untrained.hierarchy().parents();
        double ranks = 0;
        double map = 0;
        int edges = 0;
        PoincareBall ball = new PoincareBall(1);
        int n = untrained.hierarchy().nodes();
        double[] points = untrained.points().toArray(ValueLayout.JAVA_DOUBLE);
        for (int u = 1; u < n; u++) {
            double[] d = new double[n];
            ball.dist(2, Arrays.copyOfRange(points, 2 * u, 2 * u + 2), points, d);
            double precision = 0;
            int[] own = parents[u];
            for (int v : own) {
                int before = 0;
                int found = 0;
                for (int w = 0; w < n; w++) {
                    boolean parent = Arrays.binarySearch(own, w) >= 0;
                    before += w != u && !parent && d[w] <= d[v] ? 1 : 0;
                    found += parent && d[w] <= d[v] ? 1 : 0;
                }
                ranks += before + 1;
                precision += (double) found / (found + before);
            }
            edges += own.length;
            map += precision / own.length;
        }
        assertEquals(ranks / edges, r.meanRank(), 1e-12);
        assertEquals(map / (n - 1), r.map(), 1e-12);
    }

    @Test
    void theNumberOfThreadsDoesNotMatter() {
        try (Exec one = Exec.cpu(1);
                Exec three = Exec.cpu(3)) {
            assertArrayEquals(
                    embed(one, 1, 3, 10).points().toArray(ValueLayout.JAVA_DOUBLE),
                    embed(three, 1, 3, 10).points().toArray(ValueLayout.JAVA_DOUBLE));
        }
    }

    @Test
    void filesHoldThePoints() throws IOException {
        HierarchyEmbedding embedding = embed(Exec.CPU, 2, 3, 3);
        double[] points = embedding.points().toArray(ValueLayout.JAVA_DOUBLE);
        Path csv = folder.resolve("points.csv");
        EmbeddingFiles.write(embedding, csv);
        List<String> lines = Files.readAllLines(csv);
        assertEquals("label,x0,x1,x2", lines.get(0));
        assertEquals(64, lines.size());
        String[] last = lines.get(63).split(",");
        assertEquals("n63", last[0]);
        assertEquals(points[points.length - 1], Double.parseDouble(last[3]));
        Path tensors = folder.resolve("points.safetensors");
        EmbeddingFiles.write(embedding, tensors);
        try (Arena arena = Arena.ofConfined()) {
            SafeTensors file = SafeTensors.open(tensors, arena);
            assertEquals("-2.0", file.metadata().get("curvature"));
            assertEquals(63, Json.MAPPER.readTree(file.metadata().get("labels")).size());
            assertArrayEquals(new long[] {63, 3}, file.get("points").shape());
        }
    }

    @Test
    void theDiskIsDrawn() throws Exception {
        HierarchyEmbedding embedding = embed(Exec.CPU, 1, 2, 20);
        Path svg = folder.resolve("disk.svg");
        DiskDrawing.write(embedding, svg);
        var document =
                DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(svg.toFile());
        assertEquals(64, document.getElementsByTagName("circle").getLength());
        String path =
                document.getElementsByTagName("path")
                        .item(0)
                        .getAttributes()
                        .getNamedItem("d")
                        .getNodeValue();
        assertEquals(62, path.chars().filter(c -> c == 'M').count(), "edges of the tree only");
        assertFalse(path.contains("NaN"));
        Path png = folder.resolve("disk.png");
        DiskDrawing.write(embedding, png);
        assertEquals(1000, ImageIO.read(png.toFile()).getWidth());
        HierarchyEmbedding solid = embed(Exec.CPU, 1, 3, 0);
        assertThrows(IllegalArgumentException.class, () -> DiskDrawing.write(solid, svg));
    }

    @Test
    void badOptionsAreNamed() {
        String message =
                assertThrows(
                                IllegalArgumentException.class,
                                () -> new HierarchyEmbedding.Options(2, 1, -1, 1, 1, 1, 0))
                        .getMessage();
        assertTrue(message.startsWith("lr: "), message);
    }
}
