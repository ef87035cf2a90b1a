package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HierarchyTest {
    @TempDir Path folder;

    private Hierarchy read(String name, String text) throws IOException {
        return Hierarchy.read(Files.writeString(folder.resolve(name), text), null);
    }

    @Test
    void textListsChildBeforeParent() throws IOException {
        Hierarchy h = read("a.csv", "id1,id2,weight\ncat,animal,1\n\n# more\n\"a, b\",cat\n");
        assertEquals(List.of("cat", "animal", "a, b"), h.labels());
        assertArrayEquals(new int[] {0, 2}, h.child());
        assertArrayEquals(new int[] {1, 0}, h.parent());
        assertEquals(List.of(), h.warnings());
        Hierarchy tabs = read("a.tsv", "x, y\tz\nz\tw\n");
        assertEquals(List.of("x, y", "z", "w"), tabs.labels());
        Hierarchy turned = Hierarchy.read(folder.resolve("a.tsv"), Hierarchy.Order.PARENT_CHILD);
        assertArrayEquals(tabs.parent(), turned.child());
    }

    @Test
    void aHeadingIsNoEdgeAndMayTurnTheOrder() throws IOException {
        Hierarchy h = read("a.csv", "Child,Parent\ncat,animal\n");
        assertEquals(List.of("cat", "animal"), h.labels());
        assertArrayEquals(new int[] {0}, h.child());
        Hierarchy turned = read("b.tsv", "parent\tchild\nanimal\tcat\n");
        assertEquals(List.of("animal", "cat"), turned.labels());
        assertArrayEquals(new int[] {1}, turned.child());
        Hierarchy chosen = Hierarchy.read(folder.resolve("b.tsv"), Hierarchy.Order.CHILD_PARENT);
        assertArrayEquals(new int[] {0}, chosen.child());
    }

    @Test
    void malformedJsonIsNamedInWords() {
        DataException e = assertThrows(DataException.class, () -> read("a.json", "{"));
        assertTrue(e.getMessage().endsWith("(line 1, column 2)"), e.getMessage());
        assertTrue(!e.getMessage().contains("REDACTED"), e.getMessage());
    }

    @Test
    void jsonLinksParentToChild() throws IOException {
        String nodes = "\"nodes\": [{\"id\": 7, \"label\": \"cat\"}, {\"id\": \"b\"}]";
        for (String links : List.of("links", "edges")) {
            Hierarchy h =
                    read(
                            "a.json",
                            "{%s, \"%s\": [{\"source\": \"b\", \"target\": 7}]}"
                                    .formatted(nodes, links));
            assertEquals(List.of("cat", "b"), h.labels());
            assertArrayEquals(new int[] {0}, h.child());
            assertArrayEquals(new int[] {1}, h.parent());
        }
    }

    @Test
    void oddEdgesAreReported() throws IOException {
        Hierarchy h = read("a.csv", "a,b\nb,b\na,b\nb,a\nc,d\n");
        assertEquals(3, h.edges());
        String warnings = String.join("; ", h.warnings());
        assertTrue(warnings.contains("1 self-loop left out, the first at line 2"), warnings);
        assertTrue(warnings.contains("1 repeated edge left out, the first at line 3"), warnings);
        assertTrue(warnings.contains("2 edges run both ways"), warnings);
        assertTrue(warnings.contains("2 parts without an edge between them"), warnings);
    }

    @Test
    void badFilesAreRefusedByPlace() throws IOException {
        refused("a.csv", "", "no edges");
        refused("a.csv", "a,a\n", "no edges but self-loops");
        refused("a.csv", "a,b\nc\n", "a.csv:2: expected two names separated by a comma");
        refused("a.tsv", "a\tb\nc\t\n", "a.tsv:2: expected two names separated by a tab");
        refused("a.json", "{\"nodes\": [", "a.json: ");
        refused("a.json", "[]", "nodes");
        refused("a.json", "{\"nodes\": [], \"links\": []}", "no edges");
        refused("a.json", "{\"nodes\": [{}], \"links\": []}", "node 0");
        refused("a.json", "{\"nodes\": [{\"id\":1},{\"id\":1}], \"links\": []}", "node 1: id 1");
        String nodes = "{\"nodes\": [{\"id\":1},{\"id\":2}], \"links\": [";
        refused("a.json", nodes + "{\"source\":1,\"target\":3}]}", "link 0: no node has id 3");
        refused("a.json", nodes + "{\"source\":1}]}", "link 0: expected a \"target\"");
        assertThrows(DataException.class, () -> Hierarchy.read(folder.resolve("none.csv"), null));
        assertThrows(DataException.class, () -> Hierarchy.read(folder, null));
        Path bytes = Files.write(folder.resolve("b.csv"), new byte[] {(byte) 0xff, ',', 1});
        String message =
                assertThrows(DataException.class, () -> Hierarchy.read(bytes, null)).getMessage();
        assertTrue(message.contains("UTF-8"), message);
    }

    private void refused(String name, String text, String expected) {
        String message = assertThrows(DataException.class, () -> read(name, text)).getMessage();
        assertTrue(message.contains(expected), message);
    }
}
