#include <cmath>
#include <cstring>

#include "abi/device.h"
#include "abi/operands.h"
#include "cpu/row_engine.h"

namespace horo {
namespace {

// What a parameter may be besides finite, as the signature says behind its name.
enum class Range : uint8_t {
    positive,
    any,   // "lr:any": zero or negative too
    unit,  // "eps:unit": between 0 and 1
};

struct Operation {
    const char* name;
    const char* signature_text;
    const char* doc;
    Signature signature;
    bool optional_outputs;
    Range range[Signature::max_params];
};

constexpr bool ends_with_vjp(const char* name) {
    const char* end = name;
    while (*end) ++end;
    return end - name > 4 && end[-4] == '.' && end[-3] == 'v' && end[-2] == 'j' && end[-1] == 'p';
}

constexpr Operation describe(const char* name, const char* signature, const char* doc) {
    Operation op = {name, signature, doc, Signature(signature), ends_with_vjp(name), {}};
    const char* at = signature;
    while (*at != ';') ++at;
    int param = -1;
    for (; *at != '-'; ++at) {
        if (at[0] == ' ' && at[1] != '-') ++param;
        if (at[0] == ':') op.range[param] = at[1] == 'a' ? Range::any : Range::unit;
    }
    return op;
}

#define HORO_DESCRIBE(Op) describe(Op::name, Op::signature, Op::doc),
constexpr Operation operations[] = {HORO_ROW_OPERATIONS(HORO_DESCRIBE)};
#undef HORO_DESCRIBE

bool known(int32_t op) { return op >= 0 && op < row_operations; }

// The name of the n-th operand of a signature's part (0 inputs, 1 parameters, 2 outputs). It takes as long as
// a small batch: for messages only.
struct Name {
    int length;
    const char* text;
};

Name operand(const Operation& op, int part, int n) {
    const char* at = op.signature_text;
    if (part >= 1) at = std::strchr(at, ';') + 1;
    if (part == 2) at = std::strstr(at, "->") + 2;
    for (;; --n) {
        at += std::strspn(at, " ");
        const int length = static_cast<int>(std::strcspn(at, " :;"));
        if (n == 0) return {length, at};
        at += std::strcspn(at, " ;");
    }
}

// As printf's %.*s wants it.
#define HORO_NAME(op, part, n) operand(op, part, n).length, operand(op, part, n).text

int64_t width(Kind kind, int64_t dim) {
    return kind == Kind::row ? dim : kind == Kind::ambient ? dim + 1 : 1;
}

const char* kind_name(Kind kind) {
    return kind == Kind::row ? "dim" : kind == Kind::ambient ? "dim + 1" : "1 per row";
}

// Do two sets of rows share an element? Rows interleaved at one stride do not.
bool overlap(const void* a, int64_t a_stride, int64_t a_width, const void* b, int64_t b_stride,
             int64_t b_width, int64_t rows, int64_t bytes) {
    const intptr_t p = reinterpret_cast<intptr_t>(a), q = reinterpret_cast<intptr_t>(b);
    const intptr_t p_end = p + ((rows - 1) * a_stride + a_width) * bytes;
    const intptr_t q_end = q + ((rows - 1) * b_stride + b_width) * bytes;
    if (p_end <= q || q_end <= p) return false;
    if (a_stride != b_stride || a_stride == 0) return true;
    const intptr_t pitch = a_stride * bytes;
    const intptr_t offset = ((q - p) % pitch + pitch) % pitch;
    return offset < a_width * bytes || offset > pitch - b_width * bytes;
}

// rows * stride <= most_elements, of rows <= most_elements
bool fits(int64_t rows, int64_t stride) {
    int64_t product = 0;
    return !__builtin_mul_overflow(rows, stride, &product) && product <= most_elements;
}

// What runs on Java arrays has no null pointer to give: the stride says it.
void* wanted(void* out, int64_t stride) { return stride == HORO_NOT_WANTED ? nullptr : out; }

int32_t row_op(int32_t index, int32_t dtype, const RowCall& call, const horo_exec* exec) {
    HORO_REQUIRE(known(index), "op: %d, expected 0 to %d", index, row_operations - 1);
    const Operation& op = operations[index];
    HORO_REQUIRE(dtype >= 0 && dtype < row_dtypes,
                 "dtype: %d, expected HORO_F32, HORO_F64, HORO_BF16 or HORO_F16", dtype);
    const int64_t bytes = dtype_bytes[dtype];
    HORO_REQUIRE(call.rows >= 0 && call.rows <= most_elements, "rows: %lld, expected 0 to 2^48",
                 (long long)call.rows);
    HORO_REQUIRE(call.dim >= 1 && call.dim <= most_elements, "dim: %lld, expected 1 to 2^48",
                 (long long)call.dim);
    for (int i = 0; i < op.signature.params; ++i) {
        const double param = call.param[i];
        HORO_REQUIRE(std::isfinite(param), "%.*s: %g, expected a finite number", HORO_NAME(op, 1, i), param);
        HORO_REQUIRE(op.range[i] == Range::any || param > 0, "%.*s: %g, expected a positive finite number",
                     HORO_NAME(op, 1, i), param);
        HORO_REQUIRE(op.range[i] != Range::unit || param < 1, "%.*s: %g, expected between 0 and 1",
                     HORO_NAME(op, 1, i), param);
    }
    if (call.rows == 0) return HORO_OK;
    for (int i = 0; i < op.signature.inputs; ++i) {
        const int64_t stride = call.in_stride[i];
        HORO_REQUIRE(call.in[i], "%.*s: null", HORO_NAME(op, 0, i));
        HORO_REQUIRE((reinterpret_cast<uintptr_t>(call.in[i]) & (bytes - 1)) == 0,
                     "%.*s: address not a multiple of %d", HORO_NAME(op, 0, i), (int)bytes);
        HORO_REQUIRE(stride >= 0 && fits(call.rows, stride),
                     "%.*s: row stride %lld, expected 0 or more (and < 2^48 in all)", HORO_NAME(op, 0, i),
                     (long long)stride);
    }
    for (int j = 0; j < op.signature.outputs; ++j) {
        if (!call.out[j]) {
            HORO_REQUIRE(op.optional_outputs, "%.*s: null", HORO_NAME(op, 2, j));
            continue;
        }
        const int64_t w = width(op.signature.output[j], call.dim), stride = call.out_stride[j];
        HORO_REQUIRE((reinterpret_cast<uintptr_t>(call.out[j]) & (bytes - 1)) == 0,
                     "%.*s: address not a multiple of %d", HORO_NAME(op, 2, j), (int)bytes);
        HORO_REQUIRE((call.rows == 1 && stride >= 0) || (stride >= w && fits(call.rows, stride)),
                     "%.*s: row stride %lld, expected %s or more", HORO_NAME(op, 2, j), (long long)stride,
                     kind_name(op.signature.output[j]));
        for (int i = 0; i < op.signature.inputs; ++i) {
            const Kind kind = op.signature.input[i];
            if (call.out[j] == call.in[i] && kind == op.signature.output[j] &&
                (stride == call.in_stride[i] || call.rows == 1))
                continue;
            HORO_REQUIRE(!overlap(call.out[j], stride, w, call.in[i], call.in_stride[i],
                                  width(kind, call.dim), call.rows, bytes),
                         "%.*s: overlaps %.*s without being the same rows", HORO_NAME(op, 2, j),
                         HORO_NAME(op, 0, i));
        }
        for (int i = 0; i < j; ++i) {
            if (!call.out[i]) continue;
            HORO_REQUIRE(!overlap(call.out[j], stride, w, call.out[i], call.out_stride[i],
                                  width(op.signature.output[i], call.dim), call.rows, bytes),
                         "%.*s: overlaps %.*s", HORO_NAME(op, 2, j), HORO_NAME(op, 2, i));
        }
    }
    const horo_exec& where = resolve(exec);
    if (where.device >= 0) return run_rows_cuda(index, dtype, call, where.device, where.stream);
    run_rows(index, dtype, call, where);
    return HORO_OK;
}

}  // namespace
}  // namespace horo

extern "C" {

int32_t horo_op_count(void) { return horo::row_operations; }

const char* horo_op_name(int32_t op) { return horo::known(op) ? horo::operations[op].name : ""; }

const char* horo_op_signature(int32_t op) {
    return horo::known(op) ? horo::operations[op].signature_text : "";
}

const char* horo_op_doc(int32_t op) { return horo::known(op) ? horo::operations[op].doc : ""; }

int32_t horo_op_find(const char* name, int32_t* op) {
    HORO_REQUIRE(op, "op: null result pointer");
    HORO_REQUIRE(name, "name: null");
    for (int32_t i = 0; i < horo::row_operations; ++i) {
        if (std::strcmp(name, horo::operations[i].name) == 0) {
            *op = i;
            return HORO_OK;
        }
    }
    return horo::fail(HORO_INVALID_ARGUMENT, "name: no row operation is called \"%.200s\"", name);
}

int32_t horo_row_op(int32_t op, int32_t dtype, int64_t rows, int64_t dim, const void* in0, int64_t in0_stride,
                    const void* in1, int64_t in1_stride, const void* in2, int64_t in2_stride, const void* in3,
                    int64_t in3_stride, void* out0, int64_t out0_stride, void* out1, int64_t out1_stride,
                    void* out2, int64_t out2_stride, void* out3, int64_t out3_stride, double p0, double p1,
                    double p2, double p3, double p4, double p5, const horo_exec* exec) {
    const horo::RowCall call = {rows,
                                dim,
                                {in0, in1, in2, in3},
                                {in0_stride, in1_stride, in2_stride, in3_stride},
                                {horo::wanted(out0, out0_stride), horo::wanted(out1, out1_stride),
                                 horo::wanted(out2, out2_stride), horo::wanted(out3, out3_stride)},
                                {out0_stride, out1_stride, out2_stride, out3_stride},
                                {p0, p1, p2, p3, p4, p5}};
    return horo::row_op(op, dtype, call, exec);
}
}
