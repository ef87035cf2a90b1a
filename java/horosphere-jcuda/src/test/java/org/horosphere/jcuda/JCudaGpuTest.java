package org.horosphere.jcuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Random;
import jcuda.Pointer;
import jcuda.Sizeof;
import jcuda.runtime.JCuda;
import jcuda.runtime.cudaMemcpyKind;
import jcuda.runtime.cudaStream_t;
import org.horosphere.DType;
import org.horosphere.Device;
import org.horosphere.Exec;
import org.horosphere.PoincareBall;
import org.horosphere.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** JCuda's memory and stream under a row operation; skipped with the reason without a device. */
class JCudaGpuTest {
    @Test
    void mobiusAddOnMemoryAndAStreamOfJCuda() {
        boolean present = !Device.list().isEmpty();
        if (!present) {
            System.out.println("skipped, no CUDA device: " + Device.reason());
        }
        Assumptions.assumeTrue(present, () -> "no CUDA device: " + Device.reason());
        Device device = Device.list().get(0);
        JCudaInterop.use(device);
        JCuda.setExceptionsEnabled(true);
        int rows = 257;
        int dim = 16;
        long bytes = (long) rows * dim * Sizeof.FLOAT;
        float[] x = points(rows * dim, 1);
        float[] y = points(rows * dim, 2);
        float[] got = new float[rows * dim];
        Pointer memory = new Pointer();
        cudaStream_t stream = new cudaStream_t();
        JCuda.cudaMalloc(memory, 3 * bytes);
        JCuda.cudaStreamCreate(stream);
        try (Stream ours = JCudaInterop.stream(device, stream);
                Exec exec = Exec.cuda(device, ours)) {
            Pointer out = memory.withByteOffset(2 * bytes);
            copyIn(memory, x, bytes);
            copyIn(memory.withByteOffset(bytes), y, bytes);
            new PoincareBall(0.7, exec)
                    .mobius_add(
                            DType.F32,
                            rows,
                            dim,
                            JCudaInterop.operand(memory),
                            JCudaInterop.operand(memory.withByteOffset(bytes)),
                            JCudaInterop.operand(out));
            JCuda.cudaStreamSynchronize(stream);
            JCuda.cudaMemcpy(Pointer.to(got), out, bytes, cudaMemcpyKind.cudaMemcpyDeviceToHost);
        } finally {
            JCuda.cudaStreamDestroy(stream);
            JCuda.cudaFree(memory);
        }
        float[] want = new float[rows * dim];
        new PoincareBall(0.7).mobius_add(dim, x, y, want);
        for (int i = 0; i < want.length; i++) {
            assertEquals(want[i], got[i], 1e-7); // points lie within 1, sums are in another order
        }
    }

    private static void copyIn(Pointer to, float[] from, long bytes) {
        JCuda.cudaMemcpy(to, Pointer.to(from), bytes, cudaMemcpyKind.cudaMemcpyHostToDevice);
    }

    private static float[] points(int count, long seed) {
        Random random = new Random(seed);
        float[] x = new float[count];
        for (int i = 0; i < count; i++) {
            x[i] = (random.nextFloat() - 0.5f) / 4;
        }
        return x;
    }
}
