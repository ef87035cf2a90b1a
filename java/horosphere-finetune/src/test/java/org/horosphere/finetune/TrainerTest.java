package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.function.DoubleSupplier;
import org.horosphere.Exec;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The training loop on a model whose gradient is the batch. */
class TrainerTest {
    private static final int SIZE = 5;
    private static final int STEPS = 6;
    private static final int ACCUMULATION = 2;
    private static final double DECAY = 0.1;

    /** The loss is linear: the product of parameters and batch, which asks for two predictions. */
    private static final class LinearLoss implements Learner<float[]> {
        private final Parameters parameters = new Parameters();
        private float[] batch;
        private float scale;

        LinearLoss() {
            parameters.add("a", 3);
            parameters.add("b", SIZE - 3); // the norm is that of both
            parameters.allocate(Exec.CPU);
            parameters.restore(new float[] {0.5f, -1, 2, -0.25f, 1});
        }

        @Override
        public Exec exec() {
            return Exec.CPU;
        }

        @Override
        public Object stage(float[] newBatch, float gradientScale) {
            batch = newBatch;
            scale = gradientScale;
            return 0;
        }

        @Override
        public void computeLoss() {}

        @Override
        public DoubleSupplier lossLater() {
            return () -> 0;
        }

        @Override
        public void backward() {
            int at = 0;
            for (Tensor tensor : parameters.tensors()) {
                MemorySegment grad = tensor.grad();
                for (int i = 0; i < tensor.size(); i++, at++) {
                    float before = grad.getAtIndex(ValueLayout.JAVA_FLOAT, i);
                    grad.setAtIndex(ValueLayout.JAVA_FLOAT, i, before + scale * batch[at]);
                }
            }
        }

        @Override
        public long targets(float[] newBatch) {
            return 2;
        }

        @Override
        public long inputs(float[] newBatch) {
            return 2;
        }
    }

    /** Batches of gradients whose sizes differ by far: some are clipped, some are not. */
    private static List<float[]> batches() {
        Random random = new Random(7);
        double[] sizes = {10, 0.1, 1000, 0.5, 3, 1e-3};
        List<float[]> all = new ArrayList<>();
        for (int i = 0; i < STEPS * ACCUMULATION; i++) {
            float[] batch = new float[SIZE];
            for (int j = 0; j < SIZE; j++) {
                batch[j] = (float) (sizes[i / ACCUMULATION] * random.nextGaussian());
            }
            all.add(batch);
        }
        return all;
    }

    /** AdamW after clipping as torch.nn.utils.clip_grad_norm_ does it, in double. */
    private static final class Reference {
        private final double clip;
        private final double[] first = new double[SIZE];
        private final double[] second = new double[SIZE];
        private final double[] values;
        private double norm;

        Reference(double clip, float[] start) {
            this.clip = clip;
            values = new double[SIZE];
            for (int j = 0; j < SIZE; j++) {
                values[j] = start[j];
            }
        }

        void step(int step, double rate, List<float[]> micro) {
            double[] grad = new double[SIZE];
            double squares = 0;
            for (int j = 0; j < SIZE; j++) {
                for (float[] batch : micro) {
                    grad[j] += batch[j] / (2.0 * ACCUMULATION);
                }
                squares += grad[j] * grad[j];
            }
            norm = Math.sqrt(squares);
            double factor = norm > clip ? clip / norm : 1;
            for (int j = 0; j < SIZE; j++) {
                double g = factor * grad[j];
                first[j] = 0.9 * first[j] + 0.1 * g;
                second[j] = 0.999 * second[j] + 0.001 * g * g;
                double mean = first[j] / (1 - Math.pow(0.9, step));
                double square = second[j] / (1 - Math.pow(0.999, step));
                values[j] -= rate * (DECAY * values[j] + mean / (Math.sqrt(square) + 1e-8));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(doubles = {1, 0.01, Double.POSITIVE_INFINITY})
    void clipsTheGradientsOfAllTensorsToOneNorm(double clip) {
        LinearLoss model = new LinearLoss();
        List<float[]> batches = batches();
        Reference reference = new Reference(clip, model.parameters.snapshot());
        TrainOptions options =
                new TrainOptions(STEPS, 1, ACCUMULATION, 0.1, 0, DECAY, clip, STEPS, 1);
        Iterator<float[]> training = batches.iterator();
        new Trainer<>(model, () -> model.parameters, options)
                .run(
                        training,
                        List.of(),
                        new Trainer.Listener() {
                            @Override
                            public void stepped(
                                    int step, double loss, double rate, double norm, long inputs) {
                                int from = (step - 1) * ACCUMULATION;
                                reference.step(
                                        step, rate, batches.subList(from, from + ACCUMULATION));
                                assertEquals(reference.norm, norm, 1e-6 * norm, "before clipping");
                                assertNear(reference.values, model.parameters.snapshot(), step);
                                assertNear(
                                        reference.first,
                                        model.parameters.firstMomentsSnapshot(),
                                        step);
                            }

                            @Override
                            public void validated(int step, double loss, boolean best) {}
                        });
        assertFalse(training.hasNext());
    }

    /** To float32's rounding, and the 1e-6 that is added to the norm. */
    private static void assertNear(double[] want, float[] got, int step) {
        for (int j = 0; j < SIZE; j++) {
            double allowed = 3e-6 * Math.max(1, Math.abs(want[j]));
            assertEquals(want[j], got[j], allowed, "step " + step + ", number " + j);
        }
    }
}
