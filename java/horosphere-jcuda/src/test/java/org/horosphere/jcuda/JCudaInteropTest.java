package org.horosphere.jcuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.runtime.cudaStream_t;
import org.horosphere.Device;
import org.junit.jupiter.api.Test;

/** Addresses in and out of JCuda's objects; no device is needed for that. */
class JCudaInteropTest {
    private static final long ADDRESS = 0x7f00_1234_5600L;

    @Test
    void anAddressGoesThereAndBack() {
        CUdeviceptr pointer = JCudaInterop.pointer(MemorySegment.ofAddress(ADDRESS));
        MemorySegment operand = JCudaInterop.operand(pointer);
        assertEquals(ADDRESS, operand.address());
        assertEquals(0, operand.byteSize());
        assertEquals(ADDRESS + 24, JCudaInterop.operand(pointer.withByteOffset(24)).address());
    }

    @Test
    void memoryOfTheHostIsRefused() {
        for (Pointer pointer :
                new Pointer[] {
                    null,
                    new Pointer(),
                    new CUdeviceptr(),
                    Pointer.to(new float[4]),
                    Pointer.to(new float[4]).withByteOffset(4),
                    Pointer.to(ByteBuffer.allocateDirect(16))
                }) {
            Exception e =
                    assertThrows(
                            IllegalArgumentException.class, () -> JCudaInterop.operand(pointer));
            assertTrue(e.getMessage().startsWith("pointer: "), e.getMessage());
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(16);
            assertThrows(IllegalArgumentException.class, () -> JCudaInterop.pointer(host));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> JCudaInterop.pointer(MemorySegment.ofArray(new float[4])));
            assertThrows(IllegalArgumentException.class, () -> JCudaInterop.pointer(null));
        }
    }

    @Test
    void streamsOfBothInterfaces() {
        Device device = new Device(0);
        assertEquals(device, JCudaInterop.stream(device, new cudaStream_t()).device());
        assertEquals(device, JCudaInterop.stream(device, new CUstream()).device());
        assertThrows(
                IllegalArgumentException.class,
                () -> JCudaInterop.stream(device, (cudaStream_t) null));
        assertThrows(
                IllegalArgumentException.class, () -> JCudaInterop.stream(device, (CUstream) null));
        assertThrows(
                IllegalArgumentException.class, () -> JCudaInterop.stream(null, new CUstream()));
    }
}
