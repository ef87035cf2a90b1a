// What the command-line benchmarks share: flags, refusals in one line, the JSON file.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "horosphere/horo.h"

namespace command {

inline const char* name = "";  // of the running benchmark, for its messages

[[noreturn]] inline void refuse(const std::string& what) {
    std::fprintf(stderr, "horo bench %s: %s (see --help)\n", name, what.c_str());
    std::exit(2);
}

inline void require(int32_t status) {
    if (status == HORO_OK) return;
    std::fprintf(stderr, "horo bench %s: %s\n", name, horo_last_error());
    std::exit(1);
}

// `take` gets the value of the flag, or an empty string if the flag has none.
struct Flag {
    std::string name;
    std::function<void(const std::string&)> take;
    bool has_value = true;
};

inline Flag text(const char* flag, std::string& to) {
    return {flag, [&to](const std::string& value) { to = value; }};
}

inline Flag set(const char* flag, bool& to) {
    return {flag, [&to](const std::string&) { to = true; }, false};
}

// A whole number from 1 to `most`.
inline Flag number(const char* flag, int64_t most, std::function<void(int64_t)> take) {
    return {flag, [=](const std::string& value) {
                char* end;
                const long long n = std::strtoll(value.c_str(), &end, 10);
                if (*end || value.empty() || n < 1 || n > most)
                    refuse(std::string(flag) + ": \"" + value + "\", expected a number from 1 to " +
                           std::to_string(most));
                take(n);
            }};
}
inline Flag number(const char* flag, int64_t most, int& to) {
    return number(flag, most, [&to](int64_t n) { to = static_cast<int>(n); });
}
inline Flag numbers(const char* flag, int64_t most, std::vector<int64_t>& to) {
    return number(flag, most, [&to](int64_t n) { to.push_back(n); });
}

inline Flag seconds(const char* flag, double& to) {
    return {flag, [=, &to](const std::string& value) {
                char* end;
                to = std::strtod(value.c_str(), &end);
                if (*end || value.empty() || !(to >= 0 && to <= 3600))
                    refuse(std::string(flag) + ": \"" + value + "\", expected a number from 0 to 3600");
            }};
}

inline void parse(int argc, char** argv, const char* usage, const std::vector<Flag>& flags) {
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--help" || word == "-h") {
            std::fputs(usage, stdout);
            std::exit(0);
        }
        const Flag* found = nullptr;
        for (const Flag& flag : flags)
            if (flag.name == word) found = &flag;
        if (!found) refuse("unknown option \"" + word + "\"");
        if (found->has_value && ++i == argc) refuse(word + ": value missing");
        found->take(found->has_value ? argv[i] : "");
    }
}

__attribute__((format(printf, 1, 2))) inline std::string format(const char* form, ...) {
    va_list values, again;
    va_start(values, form);
    va_copy(again, values);
    std::string out(static_cast<size_t>(std::vsnprintf(nullptr, 0, form, values)), '\0');
    va_end(values);
    std::vsnprintf(&out[0], out.size() + 1, form, again);
    va_end(again);
    return out;
}

inline std::string machine() {
    std::string found = "unknown";
    if (FILE* file = std::fopen("/proc/cpuinfo", "r")) {
        char line[512];
        while (std::fgets(line, sizeof line, file)) {
            const std::string entry = line;
            if (entry.rfind("model name", 0) != 0 || entry.find(": ") == std::string::npos) continue;
            found = entry.substr(entry.find(": ") + 2);
            break;
        }
        std::fclose(file);
    }
    std::string clean;
    for (char c : found)
        if (c >= ' ' && c != '"' && c != '\\') clean += c;
    return clean;
}

// `fields`: the benchmark's own, as JSON with a comma after each. Called without results before the
// measurements, so that a bad path shows at once. Does nothing without a path.
inline void write_json(const std::string& path, int threads, const std::string& fields,
                       const std::vector<std::string>& results) {
    if (path.empty()) return;
    FILE* file = std::fopen(path.c_str(), "w");
    if (!file) refuse("--json: cannot write \"" + path + "\"");
    const char* commit = std::getenv("HORO_COMMIT");
    std::fprintf(file,
                 "{\"machine\": \"%s\", \"cores\": %u, \"isa\": \"%s\", \"threads\": %d, %s\"version\": "
                 "\"%s\", \"commit\": \"%s\", \"results\": [",
                 machine().c_str(), std::thread::hardware_concurrency(), horo_cpu_isa(), threads,
                 fields.c_str(), horo_version(), commit ? commit : "unknown");
    for (size_t i = 0; i < results.size(); ++i)
        std::fprintf(file, "%s\n%s", i ? "," : "", results[i].c_str());
    std::fprintf(file, "\n]}\n");
    if (std::fclose(file) != 0) refuse("--json: cannot write \"" + path + "\"");
}

}  // namespace command
