package org.horosphere;

/** How a number is stored. Arithmetic is float32 or better whatever the storage. */
public enum DType {
    /** IEEE binary32, {@code float}. */
    F32(0, 4),
    /** IEEE binary64, {@code double}. */
    F64(1, 8),
    /** bfloat16: the upper half of a binary32. */
    BF16(2, 2),
    /** IEEE binary16. */
    F16(3, 2);

    private final int code;
    private final int bytes;

    DType(int code, int bytes) {
        this.code = code;
        this.bytes = bytes;
    }

    /** The number that stands for this type in the C ABI. */
    int code() {
        return code;
    }

    /** Bytes per element. */
    public int bytes() {
        return bytes;
    }
}
