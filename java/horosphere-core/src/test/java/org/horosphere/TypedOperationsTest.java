package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** The methods that the build writes: what they pass on, and what they refuse. */
class TypedOperationsTest {
    private static final int ROWS = 3;
    private static final int DIM = 4;
    private static final Map<String, RowManifold> MODELS =
            Map.of(
                    "poincare", new PoincareBall(1),
                    "lorentz", new Lorentz(1),
                    "klein", new Klein(1),
                    "stereographic", new Stereographic(1));

    /** A written method and the operation it calls. */
    private record Typed(RowManifold model, RowOp op, Method method, Class<?> operand) {
        /** Numbers after the curvature: between 0 and 1 any will do. */
        int numbers() {
            return op.parameters().size() - 1;
        }

        int operands() {
            return op.inputs().size() + op.outputs().size();
        }

        String operand(int i) {
            int ins = op.inputs().size();
            return (i < ins ? op.inputs().get(i) : op.outputs().get(i - ins)).name();
        }

        int elements(int i) {
            int ins = op.inputs().size();
            RowOp.Operand operand = i < ins ? op.inputs().get(i) : op.outputs().get(i - ins);
            return ROWS * (int) operand.kind().width(DIM);
        }

        boolean optional(int i) {
            return i >= op.inputs().size() && op.name().endsWith(".vjp");
        }

        void call(Object... operands) throws Throwable {
            List<Object> arguments = new ArrayList<>();
            if (operand == MemorySegment.class) {
                arguments.addAll(List.of(DType.F32, (long) ROWS, (long) DIM));
            } else {
                arguments.add(DIM);
            }
            for (int i = 0; i < numbers(); i++) {
                arguments.add(0.25);
            }
            arguments.addAll(Arrays.asList(operands));
            try {
                method.invoke(model, arguments.toArray());
            } catch (InvocationTargetException e) {
                throw e.getCause();
            }
        }
    }

    private static List<Typed> all(Class<?> operand) {
        List<Typed> all = new ArrayList<>();
        MODELS.forEach(
                (name, model) -> {
                    for (Method method : model.getClass().getSuperclass().getDeclaredMethods()) {
                        Class<?>[] types = method.getParameterTypes();
                        if (Modifier.isPublic(method.getModifiers())
                                && types[types.length - 1] == operand) {
                            method.setAccessible(true);
                            String verb = method.getName().replaceAll("_vjp$", ".vjp");
                            RowOp op = RowOp.named(name + "." + verb);
                            all.add(new Typed(model, op, method, operand));
                        }
                    }
                });
        assertTrue(all.size() > 200, all.size() + " methods");
        return all;
    }

    private static MemorySegment memory(Arena arena, Random random, int elements) {
        MemorySegment segment = arena.allocate(4L * elements, 64);
        for (int i = 0; i < elements; i++) {
            segment.setAtIndex(ValueLayout.JAVA_FLOAT, i, random.nextFloat() / 8 + 1 / 16f);
        }
        return segment;
    }

    /** The same numbers, by every way, are the same bits as by the general way. */
    @Test
    void everyMethodIsItsOperation() throws Throwable {
        Random random = new Random(5);
        for (Class<?> type : List.of(MemorySegment.class, float[].class, double[].class)) {
            for (Typed typed : all(type)) {
                try (Arena arena = Arena.ofConfined()) {
                    int ins = typed.op.inputs().size();
                    DType dtype = type == double[].class ? DType.F64 : DType.F32;
                    MemorySegment[] general = new MemorySegment[typed.operands()];
                    Object[] operands = new Object[general.length];
                    for (int i = 0; i < general.length; i++) {
                        int elements = typed.elements(i);
                        MemorySegment values = memory(arena, random, elements);
                        double[] wide = new double[elements];
                        Arrays.setAll(wide, n -> values.getAtIndex(ValueLayout.JAVA_FLOAT, n));
                        general[i] =
                                dtype == DType.F32
                                        ? memory(arena, random, elements).copyFrom(values)
                                        : arena.allocateFrom(ValueLayout.JAVA_DOUBLE, wide);
                        operands[i] =
                                type == float[].class
                                        ? values.toArray(ValueLayout.JAVA_FLOAT)
                                        : type == double[].class ? wide : values;
                    }
                    double[] params = new double[typed.op.parameters().size()];
                    Arrays.fill(params, 0.25);
                    params[0] = typed.model.curvature();
                    typed.op.run(
                            Exec.CPU,
                            dtype,
                            ROWS,
                            DIM,
                            Arrays.copyOf(general, ins),
                            null,
                            Arrays.copyOfRange(general, ins, general.length),
                            null,
                            params);
                    typed.call(operands);
                    for (int i = 0; i < general.length; i++) {
                        byte[] expected = general[i].toArray(ValueLayout.JAVA_BYTE);
                        MemorySegment got =
                                operands[i] instanceof float[] f
                                        ? MemorySegment.ofArray(f)
                                        : operands[i] instanceof double[] d
                                                ? MemorySegment.ofArray(d)
                                                : (MemorySegment) operands[i];
                        assertArrayEquals(
                                expected,
                                got.toArray(ValueLayout.JAVA_BYTE),
                                typed.method + ": " + typed.operand(i));
                    }
                }
            }
        }
    }

    private static void refused(Typed typed, int i, Executable call) {
        String message =
                assertThrows(IllegalArgumentException.class, call, typed.method + " took it")
                        .getMessage();
        String name = typed.operand(i);
        assertTrue(
                message.startsWith(name + ": "),
                typed.method + ", " + name + " is wrong: " + message);
    }

    /** Each operand of each method in turn is wrong in each way, on memory of every kind. */
    @Test
    void aWrongSegmentIsRefusedByName() throws Throwable {
        Random random = new Random(6);
        try (Arena confined = Arena.ofConfined();
                Arena shared = Arena.ofShared()) {
            Arena closed = Arena.ofConfined();
            MemorySegment gone = closed.allocate(4096, 64);
            closed.close();
            Arena[] foreign = new Arena[1];
            MemorySegment[] theirs = new MemorySegment[1];
            Thread owner =
                    new Thread(
                            () -> {
                                foreign[0] = Arena.ofConfined();
                                theirs[0] = foreign[0].allocate(4096, 64);
                            });
            owner.start();
            owner.join();
            for (Typed typed : all(MemorySegment.class)) {
                for (Arena arena : List.of(confined, shared, Arena.ofAuto())) {
                    Object[] good = new Object[typed.operands()];
                    for (int i = 0; i < good.length; i++) {
                        good[i] = memory(arena, random, typed.elements(i) + 1);
                    }
                    for (int i = 0; i < good.length; i++) {
                        int at = i;
                        MemorySegment own = (MemorySegment) good[i];
                        Object[] bad = good.clone();
                        bad[at] = own.asSlice(0, 4L * typed.elements(i) - 1);
                        refused(typed, at, () -> typed.call(bad));
                        bad[at] = own.asSlice(1);
                        refused(typed, at, () -> typed.call(bad));
                        bad[at] = MemorySegment.ofArray(new byte[4096]).asSlice(1);
                        refused(typed, at, () -> typed.call(bad));
                        if (!typed.optional(at)) {
                            bad[at] = null;
                            refused(typed, at, () -> typed.call(bad));
                            bad[at] = MemorySegment.NULL;
                            refused(typed, at, () -> typed.call(bad));
                        }
                        if (at >= typed.op.inputs().size()) {
                            bad[at] = own.asReadOnly();
                            refused(typed, at, () -> typed.call(bad));
                            // begins with the last number of the first input
                            bad[0] = memory(arena, random, typed.elements(0) + typed.elements(at));
                            bad[at] =
                                    ((MemorySegment) bad[0]).asSlice(4L * (typed.elements(0) - 1));
                            refused(typed, at, () -> typed.call(bad));
                            bad[0] = good[0];
                        }
                        bad[at] = gone;
                        assertThrows(IllegalStateException.class, () -> typed.call(bad));
                        bad[at] = theirs[0];
                        assertThrows(WrongThreadException.class, () -> typed.call(bad));
                    }
                    typed.call(good);
                }
            }
        }
    }

    @Test
    void aWrongArrayIsRefusedByName() throws Throwable {
        for (Class<?> type : List.of(float[].class, double[].class)) {
            for (Typed typed : all(type)) {
                Object[] good = new Object[typed.operands()];
                for (int i = 0; i < good.length; i++) {
                    good[i] = array(type, typed.elements(i));
                }
                for (int i = 0; i < good.length; i++) {
                    int at = i;
                    Object[] bad = good.clone();
                    // the rows are those of the first output, so one row more there is wrong
                    // elsewhere
                    if (at != typed.op.inputs().size()) {
                        bad[at] = array(type, typed.elements(i) - 1);
                        refused(typed, at, () -> typed.call(bad));
                        bad[at] = array(type, typed.elements(i) + 1);
                        refused(typed, at, () -> typed.call(bad));
                    }
                    if (!typed.optional(at)) {
                        bad[at] = null;
                        refused(typed, at, () -> typed.call(bad));
                    }
                }
                typed.call(good);
            }
        }
    }

    private static Object array(Class<?> type, int elements) {
        if (type == float[].class) {
            float[] array = new float[elements];
            Arrays.fill(array, 0.125f);
            return array;
        }
        double[] array = new double[elements];
        Arrays.fill(array, 0.125);
        return array;
    }

    /**
     * An arena cannot be closed under a call: it is refused to whoever closes it, or to the next
     * call.
     */
    @Test
    void anArenaClosedByAnotherThreadEndsTheCalls() throws Exception {
        PoincareBall ball = new PoincareBall(1);
        for (int round = 0; round < 20; round++) {
            Arena arena = Arena.ofShared();
            MemorySegment x = arena.allocate(4 * 16 * 8, 64);
            MemorySegment out = arena.allocate(4 * 16 * 8, 64);
            CountDownLatch started = new CountDownLatch(1);
            AtomicReference<Throwable> end = new AtomicReference<>();
            Thread caller =
                    new Thread(
                            () -> {
                                try {
                                    while (true) {
                                        ball.mobius_add(DType.F32, 16, 8, x, x, out);
                                        started.countDown();
                                    }
                                } catch (Throwable t) {
                                    end.set(t);
                                }
                            });
            caller.start();
            started.await();
            while (arena.scope().isAlive()) {
                try {
                    arena.close();
                } catch (IllegalStateException e) {
                    assertTrue(e.getMessage().contains("acquired"), e.getMessage());
                }
            }
            caller.join();
            assertEquals(IllegalStateException.class, end.get().getClass(), "" + end.get());
        }
    }

    /** Small batches of every kind of memory, mixed: what HotSpot assumes of one holds for none. */
    @Test
    void kindsOfMemoryMayBeMixed() {
        PoincareBall ball = new PoincareBall(1);
        Random random = new Random(7);
        try (Arena confined = Arena.ofConfined();
                Arena shared = Arena.ofShared()) {
            float[] values = new float[16 * 8];
            for (int i = 0; i < values.length; i++) {
                values[i] = random.nextFloat() / 8;
            }
            List<MemorySegment> kinds =
                    List.of(
                            confined.allocate(512, 4),
                            shared.allocate(512, 4),
                            Arena.ofAuto().allocate(512, 4),
                            Arena.global().allocate(512, 4),
                            MemorySegment.ofArray(new float[128]),
                            MemorySegment.ofArray(new double[65]).asSlice(4, 512));
            kinds.forEach(kind -> kind.copyFrom(MemorySegment.ofArray(values)));
            float[] expected = new float[values.length];
            ball.mobius_add(8, values, values, expected);
            TreeSet<Integer> seen = new TreeSet<>();
            for (int n = 0; n < 40_000; n++) {
                int a = random.nextInt(kinds.size());
                int b = random.nextInt(kinds.size());
                MemorySegment out = MemorySegment.ofArray(new float[128]);
                ball.mobius_add(DType.F32, 16, 8, kinds.get(a), kinds.get(b), out);
                if (seen.add(a * kinds.size() + b) || n % 100 == 0) {
                    assertArrayEquals(expected, out.toArray(ValueLayout.JAVA_FLOAT));
                }
            }
            assertEquals(kinds.size() * kinds.size(), seen.size());
        }
    }
}
