package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What holds on every machine, with and without a CUDA device. */
class DeviceTest {
    private static final int NO_DEVICE = -4;

    @Test
    void anEmptyListHasAReason() {
        List<Device> devices = Device.list();
        assertEquals(devices.isEmpty(), !Device.reason().isEmpty(), Device.reason());
        if (devices.isEmpty()) {
            System.out.println("no CUDA device: " + Device.reason());
        }
    }

    @Test
    void aMissingDeviceIsAnExceptionWithTheReason() {
        Device missing = new Device(Device.list().size());
        Stream stream = Stream.of(missing, 0);
        List<Executable> calls =
                List.of(
                        missing::name,
                        () -> Stream.create(missing),
                        stream::synchronize,
                        () -> Stream.of(missing, 4096).capture(() -> {}),
                        () -> DeviceMemory.allocate(missing, 4),
                        () -> Exec.cuda(missing, stream));
        for (Executable call : calls) {
            HorosphereException e = assertThrows(HorosphereException.class, call);
            assertEquals(NO_DEVICE, e.status());
            assertTrue(e.getMessage().startsWith("no CUDA device"), e.getMessage());
            assertTrue(e.getMessage().contains(Device.reason()), e.getMessage());
        }
    }

    @Test
    void badArgumentsAreNamed() {
        Device device = new Device(0);
        assertNames("number", () -> new Device(-1));
        assertNames("device", () -> Stream.create(null));
        assertNames("device", () -> Stream.of(null, 0));
        assertNames("device", () -> DeviceMemory.allocate(null, 4));
        assertNames("bytes", () -> DeviceMemory.allocate(device, 0));
        assertNames("device", () -> Exec.cuda(null, null));
        assertNames("stream", () -> Exec.cuda(device, null));
        assertNames("stream", () -> Stream.of(device, 0).capture(() -> {}));
        assertNames("work", () -> Stream.of(device, 0).capture(null));
        assertNames("stream", () -> Exec.cuda(device, Stream.of(new Device(1), 0)));
    }

    @Test
    void aForeignStreamIsLeftAlone() {
        Stream stream = Stream.of(new Device(0), 4096);
        stream.close();
        stream.close();
        assertThrows(IllegalStateException.class, stream::synchronize);
        assertThrows(IllegalStateException.class, () -> Exec.cuda(new Device(0), stream));
    }

    @Test
    void theCpuIsNoDevice() {
        assertFalse(Exec.CPU.isCuda());
    }

    private static void assertNames(String argument, Executable call) {
        String message = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(message.startsWith(argument + ":"), message);
    }
}
