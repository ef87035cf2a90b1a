package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeSet;
import org.horosphere.Horosphere;

/**
 * The finished runs of a comparison, a JSON file each, written whole as soon as one has finished.
 * What a run's result depends on is in its name, as a hash, and in the file.
 */
final class KeptRuns {
    private static final int HASH = 16;

    private final Path directory;
    private final boolean reuse;
    private final Map<String, String> common = new LinkedHashMap<>();

    /**
     * A run and the number of its trained numbers.
     *
     * @param parameters 0 for the untuned model
     */
    record Kept(long parameters, Comparison.Run run) {}

    /**
     * @param reuse whether runs that are there are taken; new ones are written in any case
     */
    KeptRuns(Path directory, boolean reuse, CausalLm lm, DataSplit data, int answerTokens) {
        this.directory = directory;
        this.reuse = reuse;
        AtomicFiles.requireDirectory(directory);
        common.put("model", lm.fingerprint());
        common.put("training data", Fingerprint.ofExamples(data.training()));
        common.put("validation data", Fingerprint.ofExamples(data.validation()));
        common.put("held-out data", data.testFingerprint());
        common.put("answer-tokens", Integer.toString(answerTokens));
        common.put("kernels", Horosphere.version() + " " + Horosphere.cpuIsa());
    }

    /**
     * What was kept of such a run, null if nothing was or it is not to be reused.
     *
     * @throws CheckpointException if the file is damaged
     */
    Kept find(Comparison.Arm arm, long seed) {
        Map<String, String> identity = identity(arm, seed);
        Path file = file(arm, seed, identity);
        if (!reuse || !Files.exists(file)) {
            return null;
        }
        Json json = Json.read(file);
        if (!Json.MAPPER.valueToTree(identity).equals(json.get("identity"))) {
            throw json.error("is not the run that its name says");
        }
        try {
            return new Kept(
                    json.get("parameters").longValue(),
                    Json.MAPPER.treeToValue(json.get("run"), Comparison.Run.class));
        } catch (JsonProcessingException | RuntimeException e) {
            throw new CheckpointException(file + ": is damaged; remove it to run it again", e);
        }
    }

    void keep(Comparison.Arm arm, long seed, Kept kept) {
        Map<String, String> identity = identity(arm, seed);
        ObjectNode json = Json.MAPPER.createObjectNode();
        json.set("identity", Json.MAPPER.valueToTree(identity));
        json.put("parameters", kept.parameters());
        json.set("run", Json.MAPPER.valueToTree(kept.run()));
        try {
            Files.createDirectories(directory);
        } catch (IOException e) {
            throw new CheckpointException(
                    directory + ": cannot write: " + CheckpointException.reason(e), e);
        }
        AtomicFiles.writeJson(file(arm, seed, identity), json);
    }

    private Path file(Comparison.Arm arm, long seed, Map<String, String> identity) {
        String hash = Fingerprint.of(identity.toString()).substring(0, HASH);
        String name = arm.adapter() == null ? arm.name() : arm.name() + "-seed" + seed;
        return directory.resolve(name + "-" + hash + ".json");
    }

    private Map<String, String> identity(Comparison.Arm arm, long seed) {
        Map<String, String> identity = new LinkedHashMap<>(common);
        AdapterOptions adapter = arm.adapter();
        if (adapter != null) {
            // the set of targets has no order of its own
            identity.put("targets", new TreeSet<>(adapter.targets()).toString());
            identity.put("adapter", adapter.kind().toString());
            identity.put("rank", Integer.toString(adapter.rank()));
            identity.put("alpha", Double.toString(adapter.alpha()));
            identity.put("rslora", Boolean.toString(adapter.rankStabilized()));
            identity.put("curvature", Double.toString(adapter.curvatureRadius()));
            identity.put("coeff-dropout", Double.toString(adapter.coeffDropout()));
            identity.put("training", arm.training().withSeed(seed).toString());
        }
        return identity;
    }
}
