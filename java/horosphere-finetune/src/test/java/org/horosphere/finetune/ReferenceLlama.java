package org.horosphere.finetune;

import java.util.Map;

/**
 * A decoder written down literally in float64, one token after another, from the papers' formulas:
 * what the composed kernels are compared with. Weights are those of a checkpoint.
 */
final class ReferenceLlama {
    /**
     * Low-rank branch: out = scaling · f(x), f literal exp → linear → log when K is finite.
     *
     * @param lengths DoRA's m and the row lengths it divides by, which are constants; or null
     */
    record Branch(
            double[] a,
            double[] b,
            int rank,
            double scaling,
            double k,
            double s,
            double[][] lengths) {}

    private final ModelConfig config;
    private final Map<String, double[]> weights;
    private final Map<String, Branch> branches;
    private final Map<Integer, double[]> alphas;

    ReferenceLlama(
            ModelConfig config,
            Map<String, double[]> weights,
            Map<String, Branch> branches,
            Map<Integer, double[]> alphas) {
        this.config = config;
        this.weights = weights;
        this.branches = branches;
        this.alphas = alphas;
    }

    /** Sum over positions with a target of -log softmax(logits)[target]. */
    double loss(int[] tokens, int[] targets) {
        double[][] logits = logits(tokens);
        double sum = 0;
        for (int t = 0; t < tokens.length; t++) {
            if (targets[t] >= 0) {
                double max = Double.NEGATIVE_INFINITY;
                for (double z : logits[t]) {
                    max = Math.max(max, z);
                }
                double total = 0;
                for (double z : logits[t]) {
                    total += Math.exp(z - max);
                }
                sum += Math.log(total) + max - logits[t][targets[t]];
            }
        }
        return sum;
    }

    double[][] logits(int[] tokens) {
        int d = config.hiddenSize();
        double[][] x = new double[tokens.length][];
        double[] table = weights.get("model.embed_tokens.weight");
        double scale = config.family() == ModelConfig.Family.GEMMA ? Math.sqrt(d) : 1;
        for (int t = 0; t < tokens.length; t++) {
            x[t] = new double[d];
            for (int i = 0; i < d; i++) {
                x[t][i] = scale * table[tokens[t] * d + i];
            }
        }
        for (int layer = 0; layer < config.layers(); layer++) {
            block(x, layer);
        }
        double[][] logits = new double[tokens.length][];
        double[] head = config.tieWordEmbeddings() ? table : weights.get("lm_head.weight");
        for (int t = 0; t < tokens.length; t++) {
            logits[t] = multiply(head, norm(x[t], "model.norm.weight"), config.vocabSize());
        }
        return logits;
    }

    private void block(double[][] x, int layer) {
        String path = "model.layers." + layer + ".";
        int heads = config.heads();
        int kvHeads = config.kvHeads();
        int width = config.headDim();
        int n = x.length;
        double[][] q = new double[n][];
        double[][] k = new double[n][];
        double[][] v = new double[n][];
        for (int t = 0; t < n; t++) {
            double[] h = norm(x[t], path + "input_layernorm.weight");
            q[t] = rotate(linear(path + "self_attn.q_proj", h, heads * width), t);
            k[t] = rotate(linear(path + "self_attn.k_proj", h, kvHeads * width), t);
            v[t] = linear(path + "self_attn.v_proj", h, kvHeads * width);
        }
        double[] alpha = alphas.getOrDefault(layer, new double[heads * heads]);
        for (int t = 0; t < n; t++) {
            double[][] p = new double[heads][t + 1];
            for (int h = 0; h < heads; h++) {
                double total = 0;
                for (int j = 0; j <= t; j++) {
                    double dot = 0;
                    for (int i = 0; i < width; i++) {
                        dot += q[t][h * width + i] * k[j][h / (heads / kvHeads) * width + i];
                    }
                    p[h][j] = Math.exp(dot / Math.sqrt(width));
                    total += p[h][j];
                }
                for (int j = 0; j <= t; j++) {
                    p[h][j] /= total;
                }
            }
            double[] context = new double[heads * width];
            for (int h = 0; h < heads; h++) {
                for (int source = 0; source < heads; source++) {
                    double coefficient = alpha[h * heads + source] + (h == source ? 1 : 0);
                    for (int j = 0; j <= t; j++) {
                        for (int i = 0; i < width; i++) {
                            context[h * width + i] +=
                                    coefficient
                                            * p[source][j]
                                            * v[j][h / (heads / kvHeads) * width + i];
                        }
                    }
                }
            }
            // later tokens read q, k, v only, so the stream may be updated in place
            add(x[t], linear(path + "self_attn.o_proj", context, config.hiddenSize()));
        }
        for (int t = 0; t < n; t++) {
            double[] h = norm(x[t], path + "post_attention_layernorm.weight");
            double[] gate = linear(path + "mlp.gate_proj", h, config.intermediateSize());
            double[] up = linear(path + "mlp.up_proj", h, config.intermediateSize());
            for (int i = 0; i < gate.length; i++) {
                up[i] *= activation(gate[i]);
            }
            add(x[t], linear(path + "mlp.down_proj", up, config.hiddenSize()));
        }
    }

    private double activation(double x) {
        return config.family() == ModelConfig.Family.GEMMA
                ? 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)))
                : x / (1 + Math.exp(-x));
    }

    private double[] linear(String path, double[] x, int out) {
        double[] y = multiply(weights.get(path + ".weight"), x, out);
        if (branches.containsKey(path)) {
            add(y, update(branches.get(path), x, out));
            for (int j = 0; branches.get(path).lengths() != null && j < out; j++) {
                double[][] lengths = branches.get(path).lengths();
                y[j] *= lengths[0][j] / lengths[1][j];
            }
        }
        if (config.family() == ModelConfig.Family.QWEN2 && path.matches(".*[qkv]_proj")) {
            add(y, weights.get(path + ".bias"));
        }
        return y;
    }

    static double[] update(Branch branch, double[] x, int out) {
        double q = Math.sqrt(branch.k());
        boolean flat = Double.isInfinite(q);
        double n = flat ? 0 : Math.sqrt(dot(x, x));
        double into = flat ? 1 : n == 0 ? 1 / branch.s() : q * Math.sinh(n / (branch.s() * q)) / n;
        double[] u = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            u[i] = into * x[i];
        }
        double[] z = multiply(branch.b(), multiply(branch.a(), u, branch.rank()), out);
        double m = Math.sqrt(dot(z, z));
        double time = Math.sqrt(m * m + branch.k());
        double from = flat || m == 0 ? 1 : q * arcosh(time / q) / m;
        for (int i = 0; i < out; i++) {
            z[i] *= branch.scaling() * from;
        }
        return z;
    }

    private static double arcosh(double x) {
        return Math.log(x + Math.sqrt((x - 1) * (x + 1)));
    }

    private double[] rotate(double[] x, int position) {
        int width = config.headDim();
        float[] frequency = config.rope().inv_freq();
        for (int head = 0; head < x.length / width; head++) {
            for (int i = 0; i < width / 2; i++) {
                double angle = (double) position * frequency[i];
                double first = x[head * width + i];
                double second = x[head * width + width / 2 + i];
                x[head * width + i] = first * Math.cos(angle) - second * Math.sin(angle);
                x[head * width + width / 2 + i] =
                        second * Math.cos(angle) + first * Math.sin(angle);
            }
        }
        return x;
    }

    private double[] norm(double[] x, String weight) {
        double[] w = weights.get(weight);
        double scale = 1 / Math.sqrt(dot(x, x) / x.length + config.rmsNormEps());
        double offset = config.family() == ModelConfig.Family.GEMMA ? 1 : 0;
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            y[i] = x[i] * scale * (offset + w[i]);
        }
        return y;
    }

    private static double[] multiply(double[] matrix, double[] x, int out) {
        double[] y = new double[out];
        for (int o = 0; o < out; o++) {
            for (int i = 0; i < x.length; i++) {
                y[o] += matrix[o * x.length + i] * x[i];
            }
        }
        return y;
    }

    private static double dot(double[] x, double[] y) {
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += x[i] * y[i];
        }
        return sum;
    }

    private static void add(double[] to, double[] from) {
        for (int i = 0; i < to.length; i++) {
            to[i] += from[i];
        }
    }
}
