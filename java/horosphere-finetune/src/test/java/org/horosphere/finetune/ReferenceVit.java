package org.horosphere.finetune;

import java.util.HashMap;
import java.util.Map;

/**
 * A vision transformer written down literally in float64: what the composed kernels are compared
 * with. Weights are those of a checkpoint under transformers 5's names; what an adapter adds has
 * the names of its tensors, ln K and ln s among them.
 */
final class ReferenceVit {
    private static final String A = ".lora_A.weight";
    private static final String MAGNITUDE = ".lora_magnitude_vector";

    private final VitConfig config;
    private final Map<String, double[]> weights;
    private final Map<String, double[]> adapter;
    private final double scaling;
    private final boolean hyperbolic;

    /** Row lengths that DoRA divides by: constants, whatever happens to A and B later. */
    private final Map<String, double[]> lengths = new HashMap<>();

    /**
     * @param scaling alpha / r
     */
    ReferenceVit(
            VitConfig config,
            Map<String, double[]> weights,
            Map<String, double[]> adapter,
            double scaling) {
        this.config = config;
        this.weights = weights;
        this.adapter = adapter;
        this.scaling = scaling;
        hyperbolic = adapter.keySet().stream().anyMatch(name -> name.endsWith(".hyplora_K"));
        for (String name : adapter.keySet()) {
            if (name.endsWith(MAGNITUDE)) {
                String path = name.substring(0, name.length() - MAGNITUDE.length());
                lengths.put(path, rowLengths(path));
            }
        }
    }

    private double[] rowLengths(String path) {
        double[] w = weights.get(path + ".weight");
        double[] a = adapter.get(path + A);
        double[] b = adapter.get(path + ".lora_B.weight");
        double[] result = new double[adapter.get(path + MAGNITUDE).length];
        int in = w.length / result.length;
        int rank = a.length / in;
        for (int j = 0; j < result.length; j++) {
            double sum = 0;
            for (int i = 0; i < in; i++) {
                double x = w[j * in + i];
                for (int r = 0; r < rank; r++) {
                    x += scaling * b[j * rank + r] * a[r * in + i];
                }
                sum += x * x;
            }
            result[j] = Math.sqrt(sum);
        }
        return result;
    }

    /** The sum over images of -log softmax(logits)[label]. */
    double loss(double[] pixels, int[] labels) {
        double sum = 0;
        for (int image = 0; image < labels.length; image++) {
            double[] z = logits(pixels, image);
            double max = Double.NEGATIVE_INFINITY;
            for (double v : z) {
                max = Math.max(max, v);
            }
            double total = 0;
            for (double v : z) {
                total += Math.exp(v - max);
            }
            sum += Math.log(total) + max - z[labels[image]];
        }
        return sum;
    }

    double[] logits(double[] pixels, int image) {
        int d = config.hiddenSize();
        int across = config.imageWidth() / config.patchWidth();
        double[][] x = new double[config.length()][];
        double[] positions = weights.get("vit.embeddings.position_embeddings");
        String projection = "vit.embeddings.patch_embeddings.projection";
        double[] kernel = weights.get(projection + ".weight");
        for (int t = 0; t < x.length; t++) {
            x[t] = new double[d];
            for (int i = 0; i < d; i++) {
                x[t][i] = positions[t * d + i];
                if (t == 0) {
                    x[t][i] += weights.get("vit.embeddings.cls_token")[i];
                    continue;
                }
                x[t][i] += weights.get(projection + ".bias")[i];
                for (int c = 0; c < config.channels(); c++) {
                    for (int py = 0; py < config.patchHeight(); py++) {
                        for (int px = 0; px < config.patchWidth(); px++) {
                            int row = (t - 1) / across * config.patchHeight() + py;
                            int column = (t - 1) % across * config.patchWidth() + px;
                            int plane = image * config.channels() + c;
                            int at =
                                    (plane * config.imageHeight() + row) * config.imageWidth()
                                            + column;
                            int k =
                                    ((i * config.channels() + c) * config.patchHeight() + py)
                                                    * config.patchWidth()
                                            + px;
                            x[t][i] += kernel[k] * pixels[at];
                        }
                    }
                }
            }
        }
        for (int layer = 0; layer < config.layers(); layer++) {
            block(x, "vit.layers." + layer + ".");
        }
        double[] first = norm(x[0], "vit.layernorm");
        Map<String, double[]> head = adapter.containsKey("classifier.weight") ? adapter : weights;
        double[] z = multiply(head.get("classifier.weight"), first);
        add(z, head.get("classifier.bias"));
        return z;
    }

    private void block(double[][] x, String path) {
        int heads = config.heads();
        int width = config.headDim();
        int n = x.length;
        double[][] q = new double[n][];
        double[][] k = new double[n][];
        double[][] v = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] h = norm(x[t], path + "layernorm_before");
            q[t] = linear(path + "attention.q_proj", h);
            k[t] = linear(path + "attention.k_proj", h);
            v[t] = linear(path + "attention.v_proj", h);
        }
        double[] alpha =
                adapter.getOrDefault(path + "attention.coeff_alpha", new double[heads * heads]);
        for (int t = 0; t < n; t++) {
            double[][] p = new double[heads][n];
            for (int h = 0; h < heads; h++) {
                double total = 0;
                for (int j = 0; j < n; j++) {
                    double dot = 0;
                    for (int i = 0; i < width; i++) {
                        dot += q[t][h * width + i] * k[j][h * width + i];
                    }
                    p[h][j] = Math.exp(dot / Math.sqrt(width));
                    total += p[h][j];
                }
                for (int j = 0; j < n; j++) {
                    p[h][j] /= total;
                }
            }
            double[] context = new double[heads * width];
            for (int h = 0; h < heads; h++) {
                for (int source = 0; source < heads; source++) {
                    double coefficient = alpha[h * heads + source] + (h == source ? 1 : 0);
                    for (int j = 0; j < n; j++) {
                        for (int i = 0; i < width; i++) {
                            context[h * width + i] +=
                                    coefficient * p[source][j] * v[j][h * width + i];
                        }
                    }
                }
            }
            add(x[t], linear(path + "attention.o_proj", context));
        }
        for (int t = 0; t < n; t++) {
            double[] h = linear(path + "mlp.fc1", norm(x[t], path + "layernorm_after"));
            for (int i = 0; i < h.length; i++) {
                h[i] = gelu(h[i]);
            }
            add(x[t], linear(path + "mlp.fc2", h));
        }
    }

    /** x Φ(x), Φ by its power series. */
    private static double gelu(double x) {
        double sum = x;
        double term = x;
        for (int k = 1; k < 300 && Math.abs(term) > 1e-18 * Math.abs(sum); k++) {
            term *= x * x / (2 * k + 1);
            sum += term;
        }
        return x * (0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI));
    }

    private double[] linear(String path, double[] x) {
        double[] y = multiply(weights.get(path + ".weight"), x);
        double[] a = adapter.get(path + A);
        if (a != null) {
            double k = hyperbolic ? Math.exp(adapter.get(path + ".hyplora_K")[0]) : 1.0 / 0;
            double s = hyperbolic ? Math.exp(adapter.get(path + ".hyplora_s")[0]) : 1;
            ReferenceLlama.Branch branch =
                    new ReferenceLlama.Branch(
                            a,
                            adapter.get(path + ".lora_B.weight"),
                            a.length / x.length,
                            hyperbolic ? scaling * Math.sqrt(x.length) : scaling,
                            k,
                            s,
                            null);
            add(y, ReferenceLlama.update(branch, x, y.length));
            for (int j = 0; lengths.containsKey(path) && j < y.length; j++) {
                y[j] *= adapter.get(path + MAGNITUDE)[j] / lengths.get(path)[j];
            }
        }
        if (weights.containsKey(path + ".bias")) {
            add(y, weights.get(path + ".bias"));
        }
        return y;
    }

    private double[] norm(double[] x, String path) {
        double mean = 0;
        double variance = 0;
        for (double v : x) {
            mean += v / x.length;
        }
        for (double v : x) {
            variance += (v - mean) * (v - mean) / x.length;
        }
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            y[i] =
                    (x[i] - mean)
                                    / Math.sqrt(variance + config.layerNormEps())
                                    * weights.get(path + ".weight")[i]
                            + weights.get(path + ".bias")[i];
        }
        return y;
    }

    private static double[] multiply(double[] matrix, double[] x) {
        double[] y = new double[matrix.length / x.length];
        for (int o = 0; o < y.length; o++) {
            for (int i = 0; i < x.length; i++) {
                y[o] += matrix[o * x.length + i] * x[i];
            }
        }
        return y;
    }

    private static void add(double[] to, double[] from) {
        for (int i = 0; i < to.length; i++) {
            to[i] += from[i];
        }
    }
}
