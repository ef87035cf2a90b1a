package org.horosphere.cli;

import java.io.Console;

/** Whether a person is watching. */
final class Terminal {
    private Terminal() {}

    /** Shows how far a stage of the work is, on one line that goes away; to a person only. */
    static void progress(String stage, int done, int total) {
        if (isInteractive()) {
            System.err.printf("\r\033[K%s %d/%d", stage, done, total);
            if (done >= total) {
                System.err.print("\r\033[K");
            }
            System.err.flush();
        }
    }

    /** Since JDK 22 a console may exist without a terminal. */
    static boolean isInteractive() {
        Console console = System.console();
        return console != null && console.isTerminal();
    }
}
