// The CPU quota, from made-up /proc and control groups, and the default number of threads: HORO_THREADS=7, or
// what the process may use if that variable says something else.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"
#include "cpu/quota.h"
#include "horosphere/horo.h"

namespace {

namespace fs = std::filesystem;

struct Root {
    const fs::path folder = fs::temp_directory_path() / ("horo_threads_" + std::to_string(getpid()));

    ~Root() { fs::remove_all(folder); }

    Root& with(const std::string& path, const std::string& text) {
        const fs::path file = folder.string() + path;
        fs::create_directories(file.parent_path());
        std::ofstream(file) << text;
        return *this;
    }
    Root& mounted(const std::string& lines) { return with("/proc/self/mountinfo", lines); }
    Root& grouped(const std::string& lines) { return with("/proc/self/cgroup", lines); }
    int64_t quota() const { return horo::cpu_quota(folder.string()); }
};

const std::string other =
    "22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n"
    "31 22 0:28 / /a\\040b rw - ext4 /dev/sda rw,cpu\n";
const std::string v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string v1 =
    "31 23 0:28 / /sys/fs/cgroup/cpuset rw shared:9 - cgroup cgroup rw,cpuset\n"
    "32 23 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 shared:10 - cgroup cgroup rw,cpu,cpuacct\n";

void expect(int64_t want, const Root& root, const char* what) {
    CHECK(root.quota() == want, "%s: %lld, expected %lld", what, static_cast<long long>(root.quota()),
          static_cast<long long>(want));
}

void version_2() {
    Root root;
    root.mounted(other + v2).grouped("0::/user.slice/a:b/c\n");
    const std::string top = "/sys/fs/cgroup";
    expect(horo::no_quota, root, "no file");
    expect(horo::no_quota, root.with(top + "/user.slice/a:b/c/cpu.max", "max 100000\n"), "max");
    expect(8, root.with(top + "/user.slice/cpu.max", "800000 100000\n"), "two groups above");
    expect(3, root.with(top + "/user.slice/a:b/cpu.max", "250000 100000\n"), "rounded up");
    expect(2, root.with(top + "/user.slice/a:b/c/cpu.max", "200000 100000\n"), "not rounded");
    expect(1, root.with(top + "/cpu.max", "1000 100000\n"), "the mount point's");
    root.with(top + "/other/cpu.max", "1 100000\n")
        .grouped("0::/\n")
        .with(top + "/cpu.max", "500000 100000\n");
    expect(5, root, "a namespace's root");
    expect(5, root.grouped("0::/../../elsewhere\n"), "a group outside the namespace");
    expect(5, root.grouped("12:cpu:/other\n1:name=systemd:/other\n"), "of version 1 only");
    for (const char* odd :
         {"", "\n", "100000", "-5 100000", "100000 0", "0 100000", "max", "cpu.max", "\xff\xfe"})
        expect(horo::no_quota, root.with(top + "/cpu.max", odd), odd);
    expect(92233720368548, root.with(top + "/cpu.max", "99999999999999999999999 100000"), "a large number");
}

void version_1() {
    Root root;
    root.mounted(other + v1).grouped("5:cpuset:/x\n4:cpu,cpuacct:/docker/box/inner\n0::/y\n");
    const std::string top = "/sys/fs/cgroup/cpu,cpuacct";
    for (const char* elsewhere : {"/sys/fs/cgroup/cpuset", "/a\\040b"})
        root.with(elsewhere + std::string("/cpu.cfs_quota_us"), "1\n1");
    expect(horo::no_quota, root, "no file");
    root.with(top + "/docker/box/inner/cpu.cfs_quota_us", "-1\n")
        .with(top + "/docker/box/inner/cpu.cfs_period_us", "100000\n");
    expect(horo::no_quota, root, "-1");
    root.with(top + "/docker/box/cpu.cfs_quota_us", "150000\n");
    expect(horo::no_quota, root, "no period");
    expect(3, root.with(top + "/docker/box/cpu.cfs_period_us", "50000\n"), "the group above");
    // a container with the host's names and its own group as the mount point
    root.mounted("32 23 0:29 /docker/box /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpuacct,cpu\n")
        .with(top + "/inner/cpu.cfs_quota_us", "700000\n")
        .with(top + "/inner/cpu.cfs_period_us", "100000\n");
    expect(7, root, "below the mounted group");
    root.with(top + "/cpu.cfs_quota_us", "400000\n").with(top + "/cpu.cfs_period_us", "100000\n");
    expect(4, root, "the mounted group");
    root.with(top + "/inner/cpu.cfs_quota_us", "200000\n").with(top + "es/inner/cpu.cfs_quota_us", "1\n1");
    expect(4, root.grouped("4:cpu,cpuacct:/podman/box/inner\n"), "a group outside the mounted one");
    expect(4, root.grouped("4:cpu,cpuacct:/docker/boxes/inner\n"), "a name that begins alike");
    expect(2, root.grouped("4:cpu,cpuacct:/docker/box/inner\n"), "both, the lower one is less");
}

void both() {
    Root root;
    root.mounted(v1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")
        .grouped("1:cpu:/a\n0::/b\n")
        .with("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "6")
        .with("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "\n1");
    expect(6, root, "version 1 beside 2");
    expect(5, root.with("/sys/fs/cgroup/unified/b/cpu.max", "5 1"), "version 2 beside 1");
}

void odd_files() {
    Root root;
    expect(horo::no_quota, root, "nothing there");
    root.mounted("\n - \n-\n- cgroup2 x y\n1 2 3 4 5 6 -\n1 2 3 4 5 6 - cgroup\n").grouped("\n:\n0:\n::\n");
    expect(horo::no_quota, root, "lines that are too short");
    root.with("/sys/fs/cgroup/cpu.max", "2 1").grouped("0::/gone (deleted)").mounted(v2);
    expect(2, root, "a group that is gone");
    root.with("/sys/fs/cgroup/gone (deleted)/cpu.max/file", "");
    expect(2, root, "a folder in the file's place");
}

void threads() {
    cpu_set_t set;
    CPU_ZERO(&set);
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    const char* asked = std::getenv("HORO_THREADS");
    const int64_t want =
        asked && std::string(asked) == "7" ? 7 : std::min<int64_t>(CPU_COUNT(&set), horo::cpu_quota());
    CHECK(horo_exec_threads(nullptr) == want, "%d, expected %lld", horo_exec_threads(nullptr),
          static_cast<long long>(want));
}

}  // namespace

int main() {
    version_2();
    version_1();
    both();
    odd_files();
    threads();
    return check_result();
}
