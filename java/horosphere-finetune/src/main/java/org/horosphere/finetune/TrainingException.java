package org.horosphere.finetune;

/** Training went wrong for a numerical reason. */
public final class TrainingException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    TrainingException(String message) {
        super(message);
    }
}
