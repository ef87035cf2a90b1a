#include "cpu/quota.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace horo {
namespace {

// "" if it cannot be read.
std::string content(const std::string& path) {
    std::string text;
    if (std::FILE* file = std::fopen(path.c_str(), "re")) {
        char part[4096];
        for (size_t n; (n = std::fread(part, 1, sizeof part, file)) > 0;) text.append(part, n);
        std::fclose(file);
    }
    return text;
}

// Takes what is before the first separator, and the separator, off the front of a text.
std::string_view cut(std::string_view& text, char separator) {
    const size_t end = std::min(text.find(separator), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return part;
}

bool has_cpu(std::string_view controllers) {
    while (!controllers.empty())
        if (cut(controllers, ',') == "cpu") return true;
    return false;
}

// A mounted hierarchy of groups: a line of /proc/self/mountinfo, see proc(5).
struct Mount {
    bool unified;            // version 2
    bool limits;             // the CPU, perhaps
    std::string_view group;  // at the mount point
    std::string_view point;

    explicit Mount(std::string_view line) {
        for (int i = 0; i < 3; ++i) cut(line, ' ');
        group = cut(line, ' ');
        point = cut(line, ' ');
        line.remove_prefix(std::min(line.find(" - "), line.size()));
        for (int i = 0; i < 2; ++i) cut(line, ' ');
        const std::string_view type = cut(line, ' ');
        cut(line, ' ');
        unified = type == "cgroup2";
        limits = unified || (type == "cgroup" && has_cpu(line));
    }
};

// The process's group in a hierarchy, "" if it is in none: a line of /proc/self/cgroup, see cgroups(7).
std::string_view own_group(std::string_view lines, bool unified) {
    while (!lines.empty()) {
        std::string_view line = cut(lines, '\n');
        const std::string_view number = cut(line, ':'), controllers = cut(line, ':');
        if (unified ? number == "0" : has_cpu(controllers)) return line;
    }
    return "";
}

// Where a group lies from another on; "" if it is not in there: a container may be shown its group's name
// outside, but has no folder above its own.
std::string_view within(std::string_view group, std::string_view top) {
    if (top == "/") return group;
    const std::string_view rest = group.substr(std::min(top.size(), group.size()));
    const bool inside = group.substr(0, top.size()) == top && (rest.empty() || rest[0] == '/');
    return inside ? rest : "";
}

int64_t quota(const std::string& folder, bool unified) {
    const std::string numbers =
        unified ? content(folder + "/cpu.max")
                : content(folder + "/cpu.cfs_quota_us") + content(folder + "/cpu.cfs_period_us");
    long long time = 0, period = 0;  // without a limit the first is "max" or -1
    if (std::sscanf(numbers.c_str(), "%lld %lld", &time, &period) != 2 || time < 1 || period < 1)
        return no_quota;
    return (time - 1) / period + 1;
}

}  // namespace

int64_t cpu_quota(const std::string& root) try {
    const std::string mounts = content(root + "/proc/self/mountinfo");
    const std::string groups = content(root + "/proc/self/cgroup");
    int64_t least = no_quota;
    for (std::string_view lines = mounts; !lines.empty();) {
        const Mount mount(cut(lines, '\n'));
        if (!mount.limits) continue;
        std::string folder = root;
        folder += mount.point;
        const size_t top = folder.size();
        folder += within(own_group(groups, mount.unified), mount.group);
        least = std::min(least, quota(folder, mount.unified));
        while (folder.size() > top) {
            folder.resize(std::max(top, folder.rfind('/')));
            least = std::min(least, quota(folder, mount.unified));
        }
    }
    return least;
} catch (...) {  // out of memory
    return no_quota;
}

}  // namespace horo
