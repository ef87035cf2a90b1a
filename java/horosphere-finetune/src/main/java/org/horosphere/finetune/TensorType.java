package org.horosphere.finetune;

import org.horosphere.DType;

/**
 * Element types of a safetensors file, under the names they have there. Listed in the order by
 * which the reference serializer lays tensors out (last first).
 */
public enum TensorType {
    BOOL(1, null),
    U8(1, null),
    I8(1, null),
    I16(2, null),
    U16(2, null),
    F16(2, DType.F16),
    BF16(2, DType.BF16),
    I32(4, null),
    U32(4, null),
    F32(4, DType.F32),
    F64(8, DType.F64),
    I64(8, null),
    U64(8, null);

    private final int bytes;
    private final DType dtype;

    TensorType(int bytes, DType dtype) {
        this.bytes = bytes;
        this.dtype = dtype;
    }

    /** Bytes per element. */
    public int bytes() {
        return bytes;
    }

    /** The kernels' type of the same storage, or null for an integer or boolean type. */
    public DType dtype() {
        return dtype;
    }

    /** The type that stores {@code dtype}. */
    public static TensorType of(DType dtype) {
        return valueOf(dtype.name());
    }
}
