package org.horosphere.cli;

import java.util.concurrent.CountDownLatch;

/**
 * Ctrl-C (or SIGTERM) ends training after the current step; the process then waits until the work
 * inside this block is done, however it ends, and exits with the signal's code.
 */
final class Interrupt implements AutoCloseable {
    private final CountDownLatch finished = new CountDownLatch(1);
    private final Thread hook;
    private volatile boolean happened;

    private Interrupt(Runnable stop) {
        hook =
                new Thread(
                        () -> {
                            happened = true;
                            System.err.println(
                                    "horo: stopping after this step and saving; to give up at once: kill -9 "
                                            + ProcessHandle.current().pid());
                            stop.run();
                            try {
                                finished.await();
                            } catch (InterruptedException e) {
                                Thread.currentThread().interrupt();
                            }
                        });
    }

    /**
     * @param stop makes the work end soon; called from another thread
     */
    static Interrupt install(Runnable stop) {
        Interrupt interrupt = new Interrupt(stop);
        try {
            Runtime.getRuntime().addShutdownHook(interrupt.hook);
        } catch (IllegalStateException e) {
            stop.run(); // going down already: nothing is trained, nothing can be waited for
        }
        return interrupt;
    }

    boolean happened() {
        return happened;
    }

    /** Everything is saved, or there is nothing to save. */
    @Override
    public void close() {
        finished.countDown();
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // the process is going down already, which is what the hook waited for
        }
    }
}
