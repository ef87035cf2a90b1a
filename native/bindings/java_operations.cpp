// Writes the typed Java methods of every row operation: per model ("poincare", "lorentz", ...) one abstract
// class with a method per operation for segments, float[] and double[], and the same for its gradient. So an
// operation is one struct here and a method there, without a line of Java.
//
//   java_operations DIRECTORY     writes DIRECTORY/PoincareOperations.java and so on
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
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

// Operands, in order, filled up with nulls to the four that a call takes.
std::string operands(const std::vector<std::string>& names) {
    std::string text;
    for (size_t i = 0; i < 4; ++i) text += ", " + (i < names.size() ? names[i] : std::string("null"));
    return text;
}

// The numbers after the curvature, filled up to two.
std::string numbers(const Operation& op) {
    std::string text;
    for (size_t i = 1; i < 3; ++i) text += ", " + (i < op.params.size() ? op.params[i] : std::string("0"));
    return text;
}

void method(std::ostream& out, const Operation& op, const std::string& element) {
    const bool arrays = element != "MemorySegment";
    const std::string type = arrays ? element + "[]" : element;
    out << "\n" << comment(op) << "    public final void " << op.verb << (op.vjp ? "_vjp" : "") << "(";
    out << (arrays ? "int dim" : "DType dtype, long rows, long dim");
    for (size_t i = 1; i < op.params.size(); ++i) out << ", double " << op.params[i];
    for (const std::string& name : op.inputs) out << ", " << type << " " << name;
    for (const std::string& name : op.outputs) out << ", " << type << " " << name;
    out << ") {\n        " << (arrays ? element + "s(" : std::string("run(")) << constant(op) << ", ";
    out << (arrays ? "dim" : "dtype, rows, dim");
    out << operands(op.inputs) << operands(op.outputs) << numbers(op) << ");\n    }\n";
}

void write(std::ostream& out, const std::string& model, const std::vector<Operation>& all) {
    const std::string type = static_cast<char>(std::toupper(static_cast<unsigned char>(model[0]))) +
                             model.substr(1) + "Operations";
    const std::string curvature = all.front().params.front();
    out << "// Written by native/bindings/java_operations.cpp from what the native library registers.\n"
           "package org.horosphere;\n\nimport java.lang.foreign.MemorySegment;\n\n"
           "abstract class "
        << type << " extends RowManifold {\n";
    for (const Operation& op : all)
        out << "    private static final RowOp " << constant(op) << " = RowOp.named(\"" << op.name
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
    for (const auto& [model, operations] : models) {
        std::ostringstream text;
        write(text, model, operations);
        const std::string path = std::string(argv[1]) + "/" +
                                 static_cast<char>(std::toupper(static_cast<unsigned char>(model[0]))) +
                                 model.substr(1) + "Operations.java";
        std::ofstream file(path);
        file << text.str();
        if (!file.flush()) {
            std::fprintf(stderr, "java_operations: cannot write %s\n", path.c_str());
            return 1;
        }
    }
    return 0;
}
