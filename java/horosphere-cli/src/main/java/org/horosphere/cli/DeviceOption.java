package org.horosphere.cli;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.horosphere.Device;
import org.horosphere.Exec;
import org.horosphere.HorosphereException;
import org.horosphere.Stream;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Where kernels run. The CPU unless told: a device rounds differently, and nobody asked for it. */
final class DeviceOption {
    private static final String CPU = "cpu";
    private static final Pattern CUDA = Pattern.compile("cuda(?::(\\d{1,4}))?");

    @Option(
            names = "--device",
            paramLabel = "DEVICE",
            defaultValue = CPU,
            description =
                    "cpu, or cuda[:N] for a CUDA device (default: ${DEFAULT-VALUE}). Results differ in the last bits.")
    private String device;

    @Mixin private ThreadsOption threads;

    /** As the run's configuration records it; null for the CPU. */
    String described() {
        return device.equals(CPU) ? null : device;
    }

    Exec exec() {
        Matcher cuda = CUDA.matcher(device);
        Exec cpu = threads.exec();
        if (device.equals(CPU)) {
            return cpu;
        }
        if (!cuda.matches()) {
            throw new UsageException("--device: " + device + ", expected cpu, cuda or cuda:N");
        }
        Device chosen = new Device(cuda.group(1) == null ? 0 : Integer.parseInt(cuda.group(1)));
        try {
            return Exec.cuda(chosen, Stream.create(chosen)); // both live as long as the process
        } catch (HorosphereException e) {
            throw new UsageException("--device: " + device + ": " + e.getMessage());
        }
    }
}
