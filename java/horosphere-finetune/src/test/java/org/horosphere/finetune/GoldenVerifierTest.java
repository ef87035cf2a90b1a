package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.horosphere.Exec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GoldenVerifierTest {
    private static final String INDEX = "index.json";
    private static final String TENSORS = "golden.safetensors";

    @TempDir Path folder;

    @BeforeEach
    void copyTheBuiltInSet() throws IOException {
        for (String name : List.of(INDEX, TENSORS)) {
            try (InputStream in = GoldenVerifier.class.getResourceAsStream("golden/" + name)) {
                Files.copy(in, folder.resolve(name));
            }
        }
    }

    @Test
    void everyBuiltInCasePasses() {
        List<String> ids = new ArrayList<>();
        List<GoldenVerifier.Result> results = GoldenVerifier.verifyBuiltIn(Exec.CPU, ids::add);
        assertEquals(86, ids.size());
        assertPasses(results);
    }

    @Test
    void everySharedCasePasses() {
        List<GoldenVerifier.Result> results =
                GoldenVerifier.verify(
                        SharedTestData.require("golden/index.json").getParent(),
                        Exec.CPU,
                        id -> {});
        assertPasses(results);
    }

    private static void assertPasses(List<GoldenVerifier.Result> results) {
        assertEquals(List.of(), results.stream().flatMap(r -> r.failures().stream()).toList());
        Set<String> checked =
                results.stream()
                        .filter(GoldenVerifier.Result::ok)
                        .map(GoldenVerifier.Result::op)
                        .collect(Collectors.toSet());
        assertTrue(
                checked.containsAll(
                        Set.of(
                                "hyplora",
                                "mixed_attention",
                                "poincare.midpoint",
                                "lorentz.centroid",
                                "poincare.mobius_matvec",
                                "poincare.mobius_add",
                                "poincare.geodesic",
                                "lorentz.expmap")),
                checked.toString());
        for (GoldenVerifier.Result r : results) {
            assertTrue(r.ok() && r.worst() <= 1 && r.cases() > 0, r.toString());
        }
    }

    @Test
    void aWrongValueIsFound() throws IOException {
        for (String tensor : List.of("out", "g_y")) {
            Path copy = Files.createDirectory(folder.resolve(tensor));
            Files.copy(folder.resolve(INDEX), copy.resolve(INDEX));
            byte[] bytes = Files.readAllBytes(folder.resolve(TENSORS));
            ByteBuffer file = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
            int header = (int) file.getLong(0);
            JsonNode entry =
                    Json.MAPPER
                            .readTree(new String(bytes, 8, header, StandardCharsets.UTF_8))
                            .get("0." + tensor);
            int at = 8 + header + entry.get("data_offsets").get(0).asInt();
            file.putDouble(at, file.getDouble(at) * 1.01 + 1e-3);
            Files.write(copy.resolve(TENSORS), bytes);
            List<GoldenVerifier.Result> bad =
                    GoldenVerifier.verify(copy, Exec.CPU, id -> {}).stream()
                            .filter(r -> !r.missing() && !r.ok())
                            .toList();
            assertEquals(1, bad.size(), bad.toString());
            assertEquals("poincare.mobius_add", bad.get(0).op());
            assertEquals(tensor.equals("out") ? "forward" : "vjp", bad.get(0).pass());
            assertTrue(bad.get(0).worst() > 1);
            assertTrue(bad.get(0).failures().get(0).contains(tensor + " row"));
        }
    }

    @Test
    void anUnknownOperationIsMissing() throws IOException {
        ObjectNode index = (ObjectNode) Json.MAPPER.readTree(folder.resolve(INDEX).toFile());
        ((ObjectNode) index.get("cases").get(0)).put("op", "poincare.no_such");
        Files.writeString(folder.resolve(INDEX), index.toString());
        GoldenVerifier.Result result =
                GoldenVerifier.verify(folder, Exec.CPU, id -> {}).stream()
                        .filter(r -> r.op().equals("poincare.no_such"))
                        .findFirst()
                        .orElseThrow();
        assertTrue(result.missing());
        assertFalse(result.ok());
    }

    @Test
    void malformedFoldersAreRefusedByName() throws IOException {
        ObjectNode index = (ObjectNode) Json.MAPPER.readTree(folder.resolve(INDEX).toFile());
        ObjectNode first = (ObjectNode) index.get("cases").get(0);
        String whole = index.toString();
        assertRefused("{\"cases\": [", "index.json");
        assertRefused("{}", "cases");
        assertRefused("{\"cases\": [{\"id\": \"a\"}]}", "a: ");
        first.put("prefix", "nowhere.");
        assertRefused(index.toString(), "nowhere.");
        index = (ObjectNode) Json.MAPPER.readTree(whole);
        ((ObjectNode) index.get("cases").get(0)).put("rows", 5);
        assertRefused(index.toString(), "poincare.mobius_add/F32");
        index = (ObjectNode) Json.MAPPER.readTree(whole);
        ((ObjectNode) index.get("cases").get(0)).remove("params");
        assertRefused(index.toString(), "parameter c");
    }

    private void assertRefused(String index, String named) throws IOException {
        Files.writeString(folder.resolve(INDEX), index);
        DataException failure =
                assertThrows(
                        DataException.class,
                        () -> GoldenVerifier.verify(folder, Exec.CPU, id -> {}));
        assertTrue(failure.getMessage().contains(named), failure.getMessage());
    }
}
