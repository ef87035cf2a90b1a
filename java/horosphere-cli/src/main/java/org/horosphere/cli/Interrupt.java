package org.horosphere.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.horosphere.finetune.Trainer;

/**
 * Ctrl-C ends training after the current step; the process then waits until the adapter is saved.
 */
final class Interrupt {
    private static final int PATIENCE_SECONDS = 60;

    private final CountDownLatch saved = new CountDownLatch(1);
    private final Thread hook;

    private Interrupt(Trainer trainer) {
        hook =
                new Thread(
                        () -> {
                            System.err.println("horo: stopping after this step and saving...");
                            trainer.stop();
                            try {
                                saved.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
                            } catch (InterruptedException e) {
                                Thread.currentThread().interrupt();
                            }
                        });
    }

    static Interrupt install(Trainer trainer) {
        Interrupt interrupt = new Interrupt(trainer);
        Runtime.getRuntime().addShutdownHook(interrupt.hook);
        return interrupt;
    }

    /** Everything is saved, or there is nothing to save. */
    void done() {
        saved.countDown();
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // the process is going down already, which is what the hook waited for
        }
    }
}
