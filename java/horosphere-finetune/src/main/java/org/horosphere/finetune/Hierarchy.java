package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * A directed graph of "child is a kind of parent" pairs, usually closed under transitivity.
 *
 * @param labels a name per node
 * @param child per edge, the node below
 * @param parent per edge, the node above
 * @param warnings what was left out or looks odd, one line each
 */
public record Hierarchy(List<String> labels, int[] child, int[] parent, List<String> warnings) {
    /** Which end of an edge the file names first. */
    public enum Order {
        CHILD_PARENT,
        PARENT_CHILD
    }

    /** First lines that name the columns, in lower case. */
    private static final Map<String, Order> HEADINGS =
            Map.of(
                    "id1,id2", Order.CHILD_PARENT,
                    "child,parent", Order.CHILD_PARENT,
                    "child_id,parent_id", Order.CHILD_PARENT,
                    "hyponym,hypernym", Order.CHILD_PARENT,
                    "source,target", Order.CHILD_PARENT,
                    "from,to", Order.CHILD_PARENT,
                    "parent,child", Order.PARENT_CHILD,
                    "parent_id,child_id", Order.PARENT_CHILD,
                    "hypernym,hyponym", Order.PARENT_CHILD);

    public Hierarchy {
        labels = List.copyOf(labels);
        child = child.clone();
        parent = parent.clone();
        warnings = List.copyOf(warnings);
    }

    @Override
    public int[] child() {
        return child.clone();
    }

    @Override
    public int[] parent() {
        return parent.clone();
    }

    /** Number of nodes. */
    public int nodes() {
        return labels.size();
    }

    /** Number of edges. */
    public int edges() {
        return child.length;
    }

    /**
     * Reads an edge list or a node-link graph.
     *
     * <p>{@code .json}: an object with {@code nodes} ({@code {id, label}}) and {@code links} or
     * {@code edges} ({@code {source, target}}), parent to child unless {@code order} says
     * otherwise. Anything else is text, a pair of names per line, separated by a tab if the first
     * line has one, else by a comma; more columns are ignored, as are empty lines, lines that begin
     * with #; child before parent unless {@code order} says otherwise. A first line of two names
     * that are known as headings, {@code id1,id2}, {@code child,parent}, {@code source,target} and
     * the like, is left out; {@code parent,child} says that the parent comes first.
     *
     * <p>Self-loops and repeated edges are left out with a warning.
     *
     * @param order null for what the format suggests
     * @throws DataException if the file cannot be read or is malformed, naming file and line
     */
    public static Hierarchy read(Path file, Order order) {
        try {
            if (Files.isDirectory(file)) {
                throw new DataException(file, "is a directory");
            }
            boolean json = file.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(".json");
            Builder builder = new Builder(file, json ? "link" : "line");
            Order natural = Order.PARENT_CHILD;
            if (json) {
                readJson(file, builder);
            } else {
                natural = readText(file, builder);
            }
            return builder.build((order == null ? natural : order) == Order.CHILD_PARENT);
        } catch (CharacterCodingException e) {
            throw new DataException(file, "not UTF-8 text", e);
        } catch (JsonProcessingException e) {
            throw new DataException(file, "not valid JSON: " + CheckpointException.reason(e), e);
        } catch (IOException e) {
            throw new DataException(file, "cannot read: " + CheckpointException.reason(e), e);
        }
    }

    /** Returns which end the file names first. */
    private static Order readText(Path file, Builder builder) throws IOException {
        Order natural = Order.CHILD_PARENT;
        List<String> lines = Files.readAllLines(file);
        String separator = null;
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i).replace("\uFEFF", "");
            if (line.isBlank() || line.startsWith("#")) {
                continue;
            }
            boolean first = separator == null;
            if (first) {
                separator = line.contains("\t") ? "\t" : ",";
            }
            List<String> fields = fields(line, separator.charAt(0));
            if (fields.size() < 2 || fields.get(0).isEmpty() || fields.get(1).isEmpty()) {
                throw new DataException(
                        file,
                        i + 1,
                        "expected two names separated by a "
                                + (separator.equals(",") ? "comma" : "tab"));
            }
            String pair = (fields.get(0) + "," + fields.get(1)).toLowerCase(Locale.ROOT);
            if (first && HEADINGS.containsKey(pair)) {
                natural = HEADINGS.get(pair);
            } else {
                builder.edge(builder.node(fields.get(0)), builder.node(fields.get(1)), i + 1);
            }
        }
        return natural;
    }

    /** The fields of a line; a field in double quotes may hold the separator and "" for a quote. */
    private static List<String> fields(String line, char separator) {
        List<String> fields = new ArrayList<>();
        StringBuilder field = new StringBuilder();
        boolean quoted = false;
        for (int i = 0; i < line.length(); i++) {
            char c = line.charAt(i);
            if (c == '"' && quoted && i + 1 < line.length() && line.charAt(i + 1) == '"') {
                field.append(c);
                i++;
            } else if (c == '"') {
                quoted = !quoted;
            } else if (c == separator && !quoted) {
                fields.add(field.toString().strip());
                field.setLength(0);
            } else {
                field.append(c);
            }
        }
        fields.add(field.toString().strip());
        return fields;
    }

    private static void readJson(Path file, Builder builder) throws IOException {
        JsonNode root = Json.MAPPER.readTree(Files.readString(file));
        JsonNode nodes = root.path("nodes");
        JsonNode links = root.has("links") ? root.path("links") : root.path("edges");
        if (!nodes.isArray() || !links.isArray()) {
            throw new DataException(
                    file, "expected an object with arrays \"nodes\" and \"links\" (or \"edges\")");
        }
        Set<String> seen = new HashSet<>();
        for (int i = 0; i < nodes.size(); i++) {
            JsonNode id = nodes.get(i).path("id");
            if (!id.isValueNode()) {
                throw new DataException(file, "node " + i + ": expected an \"id\"");
            }
            if (!seen.add(id.asText())) {
                throw new DataException(file, "node " + i + ": id " + id.asText() + " again");
            }
            JsonNode label = nodes.get(i).path("label");
            builder.labels.add(label.isTextual() ? label.asText() : id.asText());
            builder.index.put(id.asText(), i);
        }
        for (int i = 0; i < links.size(); i++) {
            int[] ends = new int[2];
            for (int end = 0; end < 2; end++) {
                String name = end == 0 ? "source" : "target";
                JsonNode id = links.get(i).path(name);
                if (!id.isValueNode()) {
                    throw new DataException(file, "link " + i + ": expected a \"" + name + "\"");
                }
                Integer node = builder.index.get(id.asText());
                if (node == null) {
                    throw new DataException(file, "link " + i + ": no node has id " + id.asText());
                }
                ends[end] = node;
            }
            builder.edge(ends[0], ends[1], i);
        }
    }

    private static final class Builder {
        final List<String> labels = new ArrayList<>();
        final Map<String, Integer> index = new LinkedHashMap<>();
        private final Path file;
        private final String unit;
        private final Set<Long> known = new HashSet<>();
        private final List<int[]> edges = new ArrayList<>();
        private final List<Integer> loops = new ArrayList<>();
        private final List<Integer> repeats = new ArrayList<>();

        Builder(Path file, String unit) {
            this.file = file;
            this.unit = unit;
        }

        int node(String name) {
            Integer node = index.get(name);
            if (node == null) {
                node = labels.size();
                index.put(name, node);
                labels.add(name);
            }
            return node;
        }

        void edge(int from, int to, int at) {
            if (from == to) {
                loops.add(at);
            } else if (!known.add((long) from << 32 | to)) {
                repeats.add(at);
            } else {
                edges.add(new int[] {from, to});
            }
        }

        Hierarchy build(boolean childFirst) {
            if (edges.isEmpty()) {
                throw new DataException(
                        file, "no edges" + (loops.isEmpty() ? "" : " but self-loops"));
            }
            int n = labels.size();
            int[] child = edges.stream().mapToInt(e -> e[childFirst ? 0 : 1]).toArray();
            int[] parent = edges.stream().mapToInt(e -> e[childFirst ? 1 : 0]).toArray();
            List<String> warnings = new ArrayList<>();
            leftOut(warnings, loops, "self-loop");
            leftOut(warnings, repeats, "repeated edge");
            long bothWays =
                    edges.stream().filter(e -> known.contains((long) e[1] << 32 | e[0])).count();
            if (bothWays > 0) {
                warnings.add(bothWays + " edges run both ways: not a hierarchy there");
            }
            parts(warnings, n);
            return new Hierarchy(labels, child, parent, warnings);
        }

        private void leftOut(List<String> warnings, List<Integer> places, String what) {
            if (!places.isEmpty()) {
                warnings.add(
                        "%d %s%s left out, the first at %s %d"
                                .formatted(
                                        places.size(),
                                        what,
                                        places.size() == 1 ? "" : "s",
                                        unit,
                                        places.get(0)));
            }
        }

        /** Parts without an edge between them say nothing about each other's place. */
        private void parts(List<String> warnings, int n) {
            int[] up = new int[n];
            Arrays.setAll(up, i -> i);
            for (int[] edge : edges) {
                up[root(up, edge[0])] = root(up, edge[1]);
            }
            int[] sizes = new int[n];
            for (int i = 0; i < n; i++) {
                sizes[root(up, i)]++;
            }
            int[] parts = Arrays.stream(sizes).filter(size -> size > 0).sorted().toArray();
            if (parts.length > 1) {
                warnings.add(
                        "%d parts without an edge between them, the largest of %d of %d nodes: their places relative to each other mean nothing"
                                .formatted(parts.length, parts[parts.length - 1], n));
            }
        }

        private static int root(int[] up, int i) {
            while (up[i] != i) {
                up[i] = up[up[i]];
                i = up[i];
            }
            return i;
        }
    }

    /** Per node, its parents in ascending order. */
    int[][] parents() {
        return lists(child, parent);
    }

    /** Per node, its children in ascending order. */
    int[][] children() {
        return lists(parent, child);
    }

    private int[][] lists(int[] from, int[] to) {
        int[] counts = new int[nodes()];
        for (int node : from) {
            counts[node]++;
        }
        int[][] lists = new int[nodes()][];
        Arrays.setAll(lists, i -> new int[counts[i]]);
        for (int e = 0; e < from.length; e++) {
            lists[from[e]][--counts[from[e]]] = to[e];
        }
        for (int[] list : lists) {
            Arrays.sort(list);
        }
        return lists;
    }
}
