package org.horosphere.jcuda;

import java.lang.foreign.MemorySegment;
import jcuda.NativePointerObject;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.runtime.JCuda;
import jcuda.runtime.cudaError;
import jcuda.runtime.cudaStream_t;
import org.horosphere.Device;
import org.horosphere.DeviceMemory;
import org.horosphere.Stream;

/**
 * Passes device memory and streams between JCuda and Horosphere; addresses change hands, nothing is
 * copied. Both libraries meet in a device's primary context: allocate after {@link #use} (or {@code
 * JCuda.cudaSetDevice}) on each thread, or with the driver API in the context of {@code
 * cuDevicePrimaryCtxRetain}; memory and streams of a context of {@code cuCtxCreate} cannot be
 * shared. Horosphere enqueues on the stream it is given and neither waits for it nor frees what it
 * did not make. Safe from any thread.
 */
public final class JCudaInterop {
    private JCudaInterop() {}

    /** JCuda keeps addresses to subclasses. */
    private static final class Address extends Pointer {
        Address(Pointer pointer) {
            super(pointer);
        }

        long start() {
            return getNativePointer();
        }

        long value() {
            return getNativePointer() + getByteOffset();
        }
    }

    private static final class RuntimeStream extends CUstream {
        RuntimeStream(cudaStream_t stream) {
            super(stream);
        }

        long value() {
            return getNativePointer();
        }
    }

    private static final class DriverStream extends cudaStream_t {
        DriverStream(CUstream stream) {
            super(stream);
        }

        long value() {
            return getNativePointer();
        }
    }

    /**
     * What {@code pointer} points to, as an operand of a call with a CUDA exec: a segment of size
     * zero at that address, like {@link DeviceMemory#at}. The memory must stay allocated until the
     * call's work is done.
     *
     * @throws IllegalArgumentException if it is null, the null pointer, or points to a Java array
     *     or buffer ({@code Pointer.to(...)}), which no kernel can read
     */
    public static MemorySegment operand(Pointer pointer) {
        if (pointer == null) {
            throw new IllegalArgumentException("pointer: null");
        }
        Address address = new Address(pointer);
        if (address.start() == 0 && !(pointer instanceof CUdeviceptr && address.value() != 0)) {
            throw new IllegalArgumentException(
                    "pointer: " + pointer + ", expected one to device memory");
        }
        return MemorySegment.ofAddress(address.value());
    }

    /**
     * The address of an operand as JCuda takes it, for kernels and copies of JCuda.
     *
     * @param operand device memory: of {@link DeviceMemory#address} or {@link DeviceMemory#at}
     * @throws IllegalArgumentException if it is host memory
     */
    public static CUdeviceptr pointer(MemorySegment operand) {
        if (operand == null || !operand.isNative() || operand.byteSize() != 0) {
            throw new IllegalArgumentException(
                    "operand: " + operand + ", expected device memory, a segment of size zero");
        }
        return new CUdeviceptr().withByteOffset(operand.address());
    }

    /** A stream of JCuda's runtime API, which stays its owner; see {@link Stream#of}. */
    public static Stream stream(Device device, cudaStream_t stream) {
        requireStream(stream);
        return Stream.of(device, new RuntimeStream(stream).value());
    }

    /** A stream of JCuda's driver API, which stays its owner; see {@link Stream#of}. */
    public static Stream stream(Device device, CUstream stream) {
        requireStream(stream);
        return Stream.of(device, new DriverStream(stream).value());
    }

    private static void requireStream(NativePointerObject stream) {
        if (stream == null) {
            throw new IllegalArgumentException("stream: null");
        }
    }

    /**
     * Makes the device's primary context current for this thread's JCuda calls.
     *
     * @throws IllegalStateException if JCuda cannot use the device, with its reason
     */
    public static void use(Device device) {
        if (device == null) {
            throw new IllegalArgumentException("device: null");
        }
        int status = JCuda.cudaSetDevice(device.number());
        if (status != cudaError.cudaSuccess) {
            throw new IllegalStateException(device + ": " + cudaError.stringFor(status));
        }
    }
}
