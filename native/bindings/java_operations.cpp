// Writes the typed Java methods of every row operation: per model ("poincare", "lorentz", ...) one abstract
// class with a method per operation for segments, float[] and double[], and the same for its gradient. So an
// operation is one struct here and a method there, without a line of Java. Their calls into the library are
// in a class per number of inputs and outputs, which takes those operands and no others.
//
//   java_operations DIRECTORY     writes DIRECTORY/PoincareOperations.java, DIRECTORY/Rows2To1.java and so on
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "horosphere/horo.h"

namespace {

struct Operation {
    std::string name, verb, doc;
    std::vector<std::string> inputs, params, outputs;
    bool vjp = false, has_vjp = false;
};

// The names of a part of a signature, "x:row y:row" -> x, y.
std::vector<std::string> names(const std::string& part) {
    std::istringstream words(part);
    std::vector<std::string> all;
    for (std::string word; words >> word;) all.push_back(word.substr(0, word.find(':')));
    return all;
}

std::string html(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else if (c == '&')
            out += "&amp;";
        else if (c == '@')
            out += "&#64;";
        else
            out += c;
    }
    return out;
}

std::string upper(std::string text) {
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
}

std::string constant(const Operation& op) { return upper(op.verb) + (op.vjp ? "_VJP" : ""); }

std::string comment(const Operation& op) {
    if (!op.vjp) return "    /** " + html(op.doc) + " */\n";
    std::string wanted;
    for (const std::string& output : op.outputs) wanted += (wanted.empty() ? "" : ", ") + output;
    return "    /** Gradients of {@link #" + op.verb + "}; any of " + wanted + " may be null. " +
           html(op.doc) + " */\n";
}

std::string operands(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += ", " + name;
    return text;
}

// The numbers after the curvature, filled up to two.
std::string numbers(const Operation& op) {
    std::string text;
    for (size_t i = 1; i < 3; ++i) text += ", " + (i < op.params.size() ? op.params[i] : std::string("0"));
    return text;
}

// Inputs and outputs of an operation.
using Sides = std::pair<size_t, size_t>;

std::string caller(Sides sides) {
    return "Rows" + std::to_string(sides.first) + "To" + std::to_string(sides.second);
}

void method(std::ostream& out, const Operation& op, const std::string& element) {
    const bool arrays = element != "MemorySegment";
    const std::string type = arrays ? element + "[]" : element;
    out << "\n" << comment(op) << "    public final void " << op.verb << (op.vjp ? "_vjp" : "") << "(";
    out << (arrays ? "int dim" : "DType dtype, long rows, long dim");
    for (size_t i = 1; i < op.params.size(); ++i) out << ", double " << op.params[i];
    for (const std::string& name : op.inputs) out << ", " << type << " " << name;
    for (const std::string& name : op.outputs) out << ", " << type << " " << name;
    out << ") {\n        " << caller({op.inputs.size(), op.outputs.size()}) << ".run(" << constant(op)
        << ", exec(), " << (arrays ? "dim" : "dtype, rows, dim") << operands(op.inputs)
        << operands(op.outputs) << ", curvature()" << numbers(op) << ");\n    }\n";
}

// What `each` makes of the numbers 0 .. count - 1.
template <class Each>
std::string list(size_t count, Each each) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += each(std::to_string(i));
    return text;
}

using Text = const std::string&;

// As RowOp::run takes them: four operands and their strides per side.
std::string general(size_t count, Text side, bool segments) {
    std::string text;
    for (size_t i = 0; i < 4; ++i) {
        const std::string n = std::to_string(i);
        text += i >= count ? ", null, 0"
                           : ", " + (segments ? side + n : "RowShape.segment(" + side + n + ")") + ", " +
                                 side + "Stride" + n;
    }
    return text;
}

// Numbers for the pointers and strides of a side that an operation does not have.
std::string absent(size_t count) {
    return list(4 - count, [](Text) { return std::string(", 0L, 0L"); });
}

void invoke(std::ostream& out, const std::string& handle, const std::string& dtype,
            const std::string& operands) {
    out << "        int status;\n        try {\n            status = (int) " << handle
        << ".invokeExact(op.code(), " << dtype << ", rows, " << operands
        << ", p0, p1, p2, 0.0, 0.0, 0.0, exec.address());\n        } catch (Throwable t) {\n"
           "            throw Native.rethrow(t);\n        }\n        Native.check(status);\n    }\n";
}

void segment_call(std::ostream& out, Sides sides) {
    const auto [ins, outs] = sides;
    out << "\n    static void run(RowShape op, Exec exec, DType dtype, long rows, long dim"
        << list(ins, [](Text n) { return ", MemorySegment in" + n; })
        << list(outs, [](Text n) { return ", MemorySegment out" + n; })
        << ", double p0, double p1, double p2) {\n"
        << list(ins, [](Text n) { return "        long inStride" + n + " = op.inWidth(" + n + ", dim);\n"; })
        << list(outs,
                [](Text n) { return "        long outStride" + n + " = op.outWidth(" + n + ", dim);\n"; })
        << "        long column = RowShape.column(exec, dtype, rows, dim);\n        if (column < 0"
        << list(ins,
                [](Text n) {
                    return "\n                || !RowShape.fits(in" + n + ", column * inStride" + n + ")";
                })
        << list(outs,
                [](Text n) {
                    return "\n                || !op.takes(out" + n + ", column * outStride" + n + ")";
                })
        << ") {\n            op.op().run(exec, dtype, rows, dim" << general(ins, "in", true)
        << general(outs, "out", true) << ", p0, p1, p2, 0, 0, 0);\n            return;\n        }\n";
    invoke(out, "SEGMENTS", "dtype.code()",
           "dim" + list(ins, [](Text n) { return ", in" + n + ", inStride" + n; }) + absent(ins) +
               list(outs, [](Text n) { return ", RowShape.nonNull(out" + n + "), outStride" + n; }) +
               absent(outs));
}

void array_call(std::ostream& out, Sides sides, const std::string& element, const std::string& dtype) {
    const auto [ins, outs] = sides;
    const std::string type = ", " + element + "[] ";
    out << "\n    static void run(RowShape op, Exec exec, int dim"
        << list(ins, [&](Text n) { return type + "in" + n; })
        << list(outs, [&](Text n) { return type + "out" + n; }) << ", double p0, double p1, double p2) {\n"
        << "        long rows = op.rows(dim"
        << list(outs, [](Text n) { return ", RowShape.length(out" + n + ")"; })
        << list(4 - outs, [](Text) { return std::string(", -1"); }) << ");\n"
        << list(ins,
                [](Text n) {
                    return "        long inStride" + n + " = op.inStride(" + n + ", in" + n +
                           ", dim, rows);\n";
                })
        << list(outs,
                [](Text n) {
                    return "        long outStride" + n + " = op.outStride(" + n + ", out" + n + ", dim);\n";
                })
        << "        if (exec.isCuda() || !RowShape.small(rows, dim)) {\n            op.op().run(exec, "
        << dtype << ", rows, dim" << general(ins, "in", false) << general(outs, "out", false)
        << ", p0, p1, p2, 0, 0, 0);\n            return;\n        }\n";
    invoke(out, "ARRAYS", dtype + ".code()",
           "(long) dim" + list(ins, [](Text n) { return ", RowShape.present(in" + n + "), inStride" + n; }) +
               absent(ins) +
               list(outs, [](Text n) { return ", RowShape.present(out" + n + "), outStride" + n; }) +
               absent(outs));
}

constexpr const char* head =
    "// Written by native/bindings/java_operations.cpp from what the native library registers.\n"
    "package org.horosphere;\n\nimport java.lang.foreign.MemorySegment;\n";

void write_caller(std::ostream& out, Sides sides) {
    const std::string counts =
        "(" + std::to_string(sides.first) + ", " + std::to_string(sides.second) + ");\n";
    out << head << "import java.lang.invoke.MethodHandle;\n\n/** Calls of row operations with " << sides.first
        << (sides.first == 1 ? " input" : " inputs") << " and " << sides.second
        << (sides.second == 1 ? " output" : " outputs") << "; see {@link RowShape}. */\nfinal class "
        << caller(sides) << " {\n    private static final MethodHandle SEGMENTS = RowOp.segments" << counts
        << "    private static final MethodHandle ARRAYS = RowOp.arrays" << counts << "\n    private "
        << caller(sides) << "() {}\n";
    segment_call(out, sides);
    array_call(out, sides, "float", "DType.F32");
    array_call(out, sides, "double", "DType.F64");
    out << "}\n";
}

bool save(const std::string& directory, const std::string& type, const std::string& text) {
    const std::string path = directory + "/" + type + ".java";
    std::ofstream file(path);
    file << text;
    if (file.flush()) return true;
    std::fprintf(stderr, "java_operations: cannot write %s\n", path.c_str());
    return false;
}

std::string class_of(const std::string& model) {
    return static_cast<char>(std::toupper(static_cast<unsigned char>(model[0]))) + model.substr(1) +
           "Operations";
}

void write(std::ostream& out, const std::string& model, const std::vector<Operation>& all) {
    const std::string type = class_of(model);
    const std::string curvature = all.front().params.front();
    out << head << "\nabstract class " << type << " extends RowManifold {\n";
    for (const Operation& op : all)
        out << "    private static final RowShape " << constant(op) << " = RowShape.named(\"" << op.name
            << "\");\n";
    out << "\n    " << type << "(double " << curvature << ", Exec exec) {\n        super(\"" << model
        << "\", \"" << curvature << "\", " << curvature << ", exec);\n    }\n";
    for (const Operation& op : all)
        for (const char* element : {"MemorySegment", "float", "double"}) method(out, op, element);
    out << "}\n";
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: java_operations DIRECTORY\n");
        return 2;
    }
    std::map<std::string, std::vector<Operation>> models;
    for (int32_t i = 0; i < horo_op_count(); ++i) {
        Operation op;
        op.name = horo_op_name(i);
        op.doc = horo_op_doc(i);
        const std::string signature = horo_op_signature(i);
        const size_t semicolon = signature.find(';'), arrow = signature.find("->");
        op.inputs = names(signature.substr(0, semicolon));
        op.params = names(signature.substr(semicolon + 1, arrow - semicolon - 1));
        op.outputs = names(signature.substr(arrow + 2));
        if (op.outputs.front() == "out_x") continue;  // optimizer steps have classes of their own
        const size_t dot = op.name.find('.');
        op.vjp = op.name.size() > 4 && op.name.compare(op.name.size() - 4, 4, ".vjp") == 0;
        op.verb = op.name.substr(dot + 1, op.name.size() - dot - 1 - (op.vjp ? 4 : 0));
        models[op.name.substr(0, dot)].push_back(op);
    }
    std::set<Sides> callers;
    for (const auto& [model, operations] : models) {
        std::ostringstream text;
        write(text, model, operations);
        if (!save(argv[1], class_of(model), text.str())) return 1;
        for (const Operation& op : operations) callers.insert({op.inputs.size(), op.outputs.size()});
    }
    for (const Sides& sides : callers) {
        std::ostringstream text;
        write_caller(text, sides);
        if (!save(argv[1], caller(sides), text.str())) return 1;
    }
    return 0;
}
