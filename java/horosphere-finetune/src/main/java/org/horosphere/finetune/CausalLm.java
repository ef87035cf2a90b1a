package org.horosphere.finetune;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;
import org.horosphere.DType;
import org.horosphere.Exec;

/**
 * A causal language model with its tokenizer and at most one adapter: open, adapt, train, evaluate,
 * generate.
 *
 * <p>Base weights stay frozen. Not for use by several threads at once.
 */
public final class CausalLm extends AdaptableModel {
    private static final int EVALUATION_BATCH = 8;

    private final Tokenizer tokenizer;
    private final Llama model;

    private CausalLm(Tokenizer tokenizer, Llama model, Path directory) {
        super(model, directory);
        this.tokenizer = tokenizer;
        this.model = model;
    }

    /**
     * Opens a Hugging Face model directory: {@code config.json}, {@code tokenizer.json}, {@code
     * model.safetensors} or its shards. Float32 weights stay mapped, others become float32.
     *
     * @throws CheckpointException if the checkpoint is missing, damaged or of an unknown
     *     architecture
     * @throws DataException if the tokenizer is missing, unsupported or has more tokens than the
     *     model
     */
    public static CausalLm open(Path directory, Exec exec) {
        return open(directory, exec, DType.F32);
    }

    /**
     * The same with frozen matrices of a chosen type.
     *
     * @param weights F32, or BF16: half the memory and, with AVX512-BF16 or AMX, twice the speed or
     *     more; activations are rounded to bfloat16 where they meet a weight, everything else stays
     *     float32. Weights already of that type stay mapped
     */
    public static CausalLm open(Path directory, Exec exec, DType weights) {
        if (weights != DType.F32 && weights != DType.BF16) {
            throw new IllegalArgumentException("weights: " + weights + ", expected F32 or BF16");
        }
        OneDnn.ensureLoaded();
        Llama model = Llama.load(directory, exec, weights);
        ModelConfig config = model.config();
        Tokenizer tokenizer = Tokenizer.open(directory);
        if (tokenizer.vocabSize() > config.vocabSize()) {
            tokenizer.close();
            throw new DataException(
                    directory.resolve("tokenizer.json"),
                    "has " + tokenizer.vocabSize() + " tokens, the model " + config.vocabSize());
        }
        return new CausalLm(tokenizer, model, directory);
    }

    public Tokenizer tokenizer() {
        return tokenizer;
    }

    /** The longest sequence the model takes, in tokens. */
    public int maxLength() {
        return model.config().maxPositionEmbeddings();
    }

    /** The width of the residual stream. */
    public int hiddenSize() {
        return model.config().hiddenSize();
    }

    /** The number of transformer blocks. */
    public int blocks() {
        return model.config().layers();
    }

    /**
     * Whether training keeps only the inputs of the blocks and computes the rest again in the
     * backward pass: the same bits, about a third more work, and in deep models a fraction of the
     * memory. For evaluation and generation, which have no backward pass, it costs nothing.
     */
    public void setCheckpointing(boolean wanted) {
        model.setCheckpointing(wanted);
    }

    /** A row of the input embedding table, as a copy. */
    public float[] embedding(int token) {
        if (token < 0 || token >= model.config().vocabSize()) {
            throw new IllegalArgumentException(
                    "token: " + token + ", expected 0.." + (model.config().vocabSize() - 1));
        }
        int width = model.config().hiddenSize();
        return model.embeddings().toArray((long) token * width, width);
    }

    /**
     * Runs the model on one sequence and shows the observer what flows through it.
     *
     * @param tokens 1 to {@link #maxLength} token ids
     * @throws IllegalArgumentException if there are none or too many, or an id is unknown
     */
    public void forward(int[] tokens, ForwardObserver observer) {
        if (tokens.length == 0) {
            throw new IllegalArgumentException("tokens: none, expected at least one");
        }
        model.forward(tokens, observer);
    }

    Llama model() {
        return model;
    }

    /**
     * What training takes at most.
     *
     * @param sequences per micro-batch
     * @param length of the longest sequence, in positions
     */
    public MemoryEstimate memory(AdapterOptions options, int sequences, int length) {
        requireNoAdapter();
        Adapter trial = Adapter.create(model, options, 0);
        try {
            return MemoryEstimate.of(
                    model,
                    trial,
                    (long) sequences * length,
                    model.activationBytes(sequences, length));
        } finally {
            trial.detach();
        }
    }

    /** A trainer for the attached adapter. */
    public Trainer<Batches.Batch> trainer(TrainOptions options) {
        return new Trainer<>(model, requireAdapter(), options);
    }

    /**
     * The loss on these examples.
     *
     * @param loss mean nats per predicted token
     * @param tokens predicted tokens
     */
    public record Loss(double loss, long tokens) {}

    /**
     * The mean loss in nats per predicted token.
     *
     * @throws CheckpointException if a weight is NaN or infinite
     * @throws TrainingException if the loss is not finite although the weights are
     */
    public Loss loss(List<Dataset.Example> examples) {
        long tokens = 0;
        List<Batches.Batch> batches = Batches.sorted(examples, EVALUATION_BATCH);
        for (Batches.Batch batch : batches) {
            tokens += batch.targetCount();
        }
        double loss = Trainer.meanLoss(model, batches);
        if (!Double.isFinite(loss)) {
            throw notFinite("the loss is " + loss);
        }
        return new Loss(loss, tokens);
    }

    /**
     * The loss of every example, scaled so that their mean is the loss per predicted token of all
     * of them.
     */
    public double[] exampleLosses(List<Dataset.Example> examples) {
        double[] losses = new double[examples.size()];
        long tokens = 0;
        for (int from = 0; from < losses.length; from += EVALUATION_BATCH) {
            int rows = Math.min(EVALUATION_BATCH, losses.length - from);
            Batches.Batch batch = Batches.pad(examples.subList(from, from + rows));
            model.forward(batch);
            for (int row = 0; row < rows; row++) {
                int[] targets = new int[batch.targets().length];
                Arrays.fill(targets, Dataset.IGNORE);
                int at = row * batch.length();
                System.arraycopy(batch.targets(), at, targets, at, batch.length());
                losses[from + row] = model.loss(targets, Float.NaN);
                if (!Double.isFinite(losses[from + row])) {
                    throw notFinite("the loss is " + losses[from + row]);
                }
            }
            tokens += batch.targetCount();
        }
        for (int i = 0; i < losses.length; i++) {
            losses[i] *= (double) losses.length / tokens;
        }
        return losses;
    }

    /**
     * Where HypLoRA can act, and what merging it would cost: the spread of |x| and of its gain, per
     * adapted linear layer. Without a low-rank adapter all linear layers are looked at.
     *
     * @throws CheckpointException if a weight is NaN or infinite
     */
    public List<Diagnostics.Module> diagnose(List<Dataset.Example> examples) {
        List<Diagnostics.Module> modules = Diagnostics.of(model, adapter(), examples);
        for (Diagnostics.Module module : modules) {
            if (!Double.isFinite(module.norms().most()) && module.norms().tokens() > 0) {
                throw notFinite("the input of " + module.norms().module() + " is not finite");
            }
        }
        return modules;
    }

    /**
     * Continues a prompt until a stop token or the limit; the prompt's own tokens are not returned.
     * The model's context also ends the text.
     *
     * @throws IllegalArgumentException if the prompt is empty or fills the model's context
     * @throws CheckpointException if a weight is NaN or infinite
     */
    public int[] generate(int[] prompt, GenerateOptions options) {
        if (prompt.length == 0) {
            throw new IllegalArgumentException(
                    "prompt: empty, and this tokenizer has no token that begins a text");
        }
        Decoding decoding =
                new Decoding(model, this::isStop, () -> notFinite("a logit is not finite"));
        return decoding.generate(prompt, options);
    }

    /** Continues a prompt greedily. */
    public int[] generate(int[] prompt, int maxNewTokens) {
        return generate(prompt, GenerateOptions.greedy(maxNewTokens));
    }

    /** The text that follows a prompt, decoded greedily. */
    public String generate(String prompt, int maxNewTokens) {
        return generate(prompt, GenerateOptions.greedy(maxNewTokens));
    }

    /** The text that follows a prompt. */
    public String generate(String prompt, GenerateOptions options) {
        int[] ids = withBos(prompt);
        int[] produced = generate(ids, options);
        // decoded together with the prompt: some tokenizers treat the first token of a text
        // specially
        int[] all = Arrays.copyOf(ids, ids.length + produced.length);
        System.arraycopy(produced, 0, all, ids.length, produced.length);
        String head = tokenizer.decode(ids, true);
        String whole = tokenizer.decode(all, true);
        return whole.startsWith(head)
                ? whole.substring(head.length())
                : tokenizer.decode(produced, true);
    }

    /**
     * Which problems are answered exactly.
     *
     * @param correct per problem, in order
     * @param outputs what the model wrote, in order
     */
    public record Score(boolean[] correct, List<String> outputs) {
        public int total() {
            return correct.length;
        }

        public int rightAnswers() {
            int count = 0;
            for (boolean right : correct) {
                count += right ? 1 : 0;
            }
            return count;
        }

        public double accuracy() {
            return total() == 0 ? Double.NaN : (double) rightAnswers() / total();
        }

        /** Of the accuracy, the problems being a random sample: sqrt(p (1 - p) / total). */
        public double standardError() {
            return Math.sqrt(accuracy() * (1 - accuracy()) / total());
        }
    }

    /** Asks every problem and compares the final answer, see {@link Evaluation}. */
    public Score solve(List<Dataset.Problem> problems, int maxNewTokens, IntConsumer progress) {
        List<String> outputs = new ArrayList<>();
        boolean[] correct = new boolean[problems.size()];
        for (Dataset.Problem problem : problems) {
            String output = generate(problem.prompt(), maxNewTokens);
            correct[outputs.size()] = Evaluation.exactMatch(output, problem.answer());
            outputs.add(output);
            progress.accept(outputs.size());
        }
        return new Score(correct, outputs);
    }

    private int[] withBos(String text) {
        int[] ids = tokenizer.encode(text);
        if (tokenizer.bosId() < 0) {
            return ids;
        }
        int[] all = new int[ids.length + 1];
        all[0] = tokenizer.bosId();
        System.arraycopy(ids, 0, all, 1, ids.length);
        return all;
    }

    /** BOS also stops: models trained on BOS-separated texts never learned another end. */
    private boolean isStop(int token) {
        return token == tokenizer.bosId()
                || token == tokenizer.eosId()
                || model.config().eosTokenIds().contains(token);
    }

    /** The index of the largest logit, the first of equals; -1 if one is NaN or all are -inf. */
    static int argmax(MemorySegment logits, int vocab) {
        int best = -1;
        float bestValue = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < vocab; i++) {
            float value = logits.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            if (Float.isNaN(value)) {
                return -1;
            }
            if (value > bestValue) {
                bestValue = value;
                best = i;
            }
        }
        return best;
    }

    @Override
    String firstNotFinite() {
        return model.firstNotFinite();
    }

    @Override
    DType weightType() {
        return model.embeddings().type();
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
