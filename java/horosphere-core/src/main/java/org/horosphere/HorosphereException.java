package org.horosphere;

/** A native call that failed for another reason than a bad argument. */
public final class HorosphereException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int status;

    HorosphereException(int status, String message) {
        super(message);
        this.status = status;
    }

    /** The status code of the C ABI, see {@code horo.h}. */
    public int status() {
        return status;
    }
}
