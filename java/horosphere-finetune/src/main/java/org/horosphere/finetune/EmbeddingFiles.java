package org.horosphere.finetune;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.horosphere.Lorentz;
import org.horosphere.PoincareBall;

/** Writes an embedding, whole or not at all. */
public final class EmbeddingFiles {
    private EmbeddingFiles() {}

    /**
     * {@code .csv}: a line {@code label,x0,x1,...} per node, numbers that read back as the same
     * doubles. Anything else: safetensors with one float64 tensor {@code points}, and model,
     * curvature and the JSON array of labels in the metadata.
     */
    public static void write(HierarchyEmbedding embedding, Path file) {
        if (file.getFileName().toString().toLowerCase().endsWith(".csv")) {
            AtomicFiles.writeString(file, csv(embedding));
            return;
        }
        long[] shape = {embedding.hierarchy().nodes(), embedding.width()};
        double curvature;
        String model;
        if (embedding.manifold() instanceof PoincareBall ball) {
            model = "poincare";
            curvature = -ball.c();
        } else {
            model = "lorentz";
            curvature = -1 / ((Lorentz) embedding.manifold()).K();
        }
        try {
            Map<String, String> metadata =
                    Map.of(
                            "model",
                            model,
                            "curvature",
                            Double.toString(curvature),
                            "labels",
                            Json.MAPPER.writeValueAsString(embedding.hierarchy().labels()));
            TensorData points = new TensorData("points", TensorType.F64, shape, embedding.points());
            SafeTensors.write(file, List.of(points), metadata);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    private static String csv(HierarchyEmbedding embedding) {
        StringBuilder text = new StringBuilder("label");
        int width = embedding.width();
        for (int j = 0; j < width; j++) {
            text.append(",x").append(j);
        }
        text.append('\n');
        List<String> labels = embedding.hierarchy().labels();
        for (int i = 0; i < labels.size(); i++) {
            String label = labels.get(i);
            boolean quote = label.matches("(?s).*[\",\n\r].*");
            text.append(quote ? '"' + label.replace("\"", "\"\"") + '"' : label);
            for (int j = 0; j < width; j++) {
                long at = (long) i * width + j;
                text.append(',').append(embedding.points().getAtIndex(ValueLayout.JAVA_DOUBLE, at));
            }
            text.append('\n');
        }
        return text.toString();
    }
}
