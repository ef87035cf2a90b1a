package org.horosphere;

/** How a number is stored. Arithmetic is float32 or better whatever the storage. */
public enum DType {
    /** IEEE binary32, {@code float}. */
    F32(0, 4, 0x1p-24),
    /** IEEE binary64, {@code double}. */
    F64(1, 8, 0x1p-53),
    /** bfloat16: the upper half of a binary32. */
    BF16(2, 2, 0x1p-8),
    /** IEEE binary16. */
    F16(3, 2, 0x1p-11);

    private final int code;
    private final int bytes;
    private final double unitRoundoff;

    DType(int code, int bytes, double unitRoundoff) {
        this.code = code;
        this.bytes = bytes;
        this.unitRoundoff = unitRoundoff;
    }

    /** The number that stands for this type in the C ABI. */
    int code() {
        return code;
    }

    /** Bytes per element. */
    public int bytes() {
        return bytes;
    }

    /** The largest relative error of rounding to this type. */
    public double unitRoundoff() {
        return unitRoundoff;
    }
}
