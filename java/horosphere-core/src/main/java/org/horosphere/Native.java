package org.horosphere;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/**
 * The loaded library and what every binding class needs: {@code bind} to make a handle, {@code
 * check} to turn a status into an exception. Handles live in {@code private static final} fields of
 * the family's binding class.
 */
final class Native {
    static final int ABI_VERSION = 1;
    static final String LIBRARY = "libhorosphere.so";
    private static final String FOLDER = "META-INF/native/linux-x86_64/";
    static final String RESOURCE = FOLDER + LIBRARY;
    private static final String CUDA_RESOURCE = FOLDER + "libhorosphere_cuda.so";

    /** A C string result: sized lazily by reading up to the terminator. */
    static final AddressLayout C_STRING =
            ADDRESS.withTargetLayout(MemoryLayout.sequenceLayout(4096, JAVA_BYTE));

    /**
     * Pointers for arrays, told apart by what they point to: what the JVM learns about the segments
     * of one descriptor it learns for all its handles, and around arrays it can only do without
     * them as long as no other segments came that way.
     */
    static final AddressLayout ARRAY = ADDRESS.withTargetLayout(JAVA_BYTE);

    private static final int INVALID_ARGUMENT = -1;
    static final int INTERNAL = -5;

    /** Every descriptor bound so far; the drift test compares it with the header. */
    static final Map<String, FunctionDescriptor> BOUND = new TreeMap<>();

    private static final Linker LINKER = Linker.nativeLinker();
    private static final Path FILE = locate();
    private static final SymbolLookup LIBRARY_SYMBOLS = NativeLibraries.open(FILE);

    private static final MethodHandle ABI =
            bind("horo_abi_version", FunctionDescriptor.of(JAVA_INT));
    private static final MethodHandle VERSION =
            bind("horo_version", FunctionDescriptor.of(C_STRING));
    private static final MethodHandle LAST_ERROR =
            bind("horo_last_error", FunctionDescriptor.of(C_STRING));
    private static final MethodHandle CPU_ISA =
            bind("horo_cpu_isa", FunctionDescriptor.of(C_STRING));

    static {
        int abi;
        try {
            abi = (int) ABI.invokeExact();
        } catch (Throwable t) {
            throw rethrow(t);
        }
        if (abi != ABI_VERSION) {
            throw new UnsatisfiedLinkError(
                    FILE + " has ABI version " + abi + ", these classes expect " + ABI_VERSION);
        }
    }

    private Native() {}

    /**
     * A handle for calls of some microseconds at most: cheaper, takes heap segments, but holds up
     * garbage collection while it runs. The descriptor may give pointers as numbers.
     */
    static MethodHandle bindCritical(String name, FunctionDescriptor descriptor) {
        return link(name, descriptor, Linker.Option.critical(true));
    }

    /**
     * A handle that takes one argument more, the first: true to be as of {@link #bindCritical},
     * false as of {@link #bind}. The last, the exec, is a number: {@link Exec#address}.
     */
    static MethodHandle bindEither(String name, FunctionDescriptor descriptor) {
        record(name, descriptor);
        int exec = descriptor.argumentLayouts().size() - 1;
        MemoryLayout[] layouts = descriptor.argumentLayouts().toArray(MemoryLayout[]::new);
        layouts[exec] = JAVA_LONG;
        FunctionDescriptor numbered =
                FunctionDescriptor.of(descriptor.returnLayout().orElseThrow(), layouts);
        return MethodHandles.guardWithTest(
                MethodHandles.identity(boolean.class),
                MethodHandles.dropArguments(bindCritical(name, numbered), 0, boolean.class),
                MethodHandles.dropArguments(link(name, numbered), 0, boolean.class));
    }

    /** A handle to a C function; the thread leaves the Java state, so the call may take long. */
    static MethodHandle bind(String name, FunctionDescriptor descriptor) {
        record(name, descriptor);
        return link(name, descriptor);
    }

    private static void record(String name, FunctionDescriptor descriptor) {
        synchronized (BOUND) {
            BOUND.put(name, descriptor);
        }
    }

    private static MethodHandle link(
            String name, FunctionDescriptor descriptor, Linker.Option... options) {
        MemorySegment symbol =
                LIBRARY_SYMBOLS
                        .find(name)
                        .orElseThrow(
                                () -> new UnsatisfiedLinkError(FILE + " has no function " + name));
        return LINKER.downcallHandle(symbol, descriptor, options);
    }

    /** Throws what a status stands for; must follow its call on the same thread. */
    static void check(int status) {
        if (status != 0) {
            throw failure(status);
        }
    }

    static RuntimeException failure(int status) {
        String text = text(LAST_ERROR);
        return status == INVALID_ARGUMENT
                ? new IllegalArgumentException(text)
                : new HorosphereException(status, text);
    }

    /**
     * What a handle threw: a closed arena or a wrong thread as it is, anything else cannot happen.
     */
    static RuntimeException rethrow(Throwable t) {
        if (t instanceof RuntimeException e) {
            return e;
        }
        if (t instanceof Error e) {
            throw e;
        }
        throw new AssertionError(t);
    }

    static String text(MethodHandle function) {
        try {
            return ((MemorySegment) function.invokeExact()).getString(0);
        } catch (Throwable t) {
            throw rethrow(t);
        }
    }

    static String version() {
        return text(VERSION);
    }

    static String cpuIsa() {
        return text(CPU_ISA);
    }

    static Path file() {
        return FILE;
    }

    private static Path locate() {
        String chosen = NativeLibraries.setting("horosphere.library.path");
        if (chosen != null) {
            return Path.of(chosen).resolve(LIBRARY);
        }
        ClassLoader loader = Native.class.getClassLoader();
        // The first library looks for the second in its own folder; builds without nvcc lack it.
        return loader.getResource(CUDA_RESOURCE) == null
                ? NativeLibraries.unpack(loader, RESOURCE)
                : NativeLibraries.unpack(loader, RESOURCE, CUDA_RESOURCE);
    }
}
