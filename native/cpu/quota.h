// How much CPU time the control groups of Linux leave this process: a container's limit.
#pragma once
#include <cstdint>
#include <string>

namespace horo {

constexpr int64_t no_quota = INT64_MAX;

// The least quota of the process's own groups and those above them, versions 1 and 2, in cores and rounded
// up; no_quota if there is none or it cannot be read. root: the folder that /proc and the mount points are
// in.
int64_t cpu_quota(const std::string& root = "");

}  // namespace horo
