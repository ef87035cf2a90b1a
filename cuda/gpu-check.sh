#!/usr/bin/env bash
# horo gpu-check [--quick] [--json FILE]: builds the native libraries for CUDA, runs their tests on the device, runs
# the kernels under compute-sanitizer and measures them: row operations, layers, distances and random numbers against a
# copy, HypLoRA against LoRA, mixed attention against unmixed. FILE gets the row operations, FILE.kernels the rest. Needs nvcc,
# compute-sanitizer, CMake and a C++ compiler; no JDK, no Maven, no network. Matrix products need cuBLASLt 12 or 13,
# found by the dynamic linker or by its file in HORO_CUBLASLT, and are left out without it. With
# build/gpu-bundle.tar.gz (horo gpu-bundle) the Java tests run too.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
build="$root/build/cuda"
json="$build/gpu-check.json"
quick=

fail() {
    echo "gpu-check: $*" >&2
    exit 1
}

usage='usage: horo gpu-check [--quick] [--json FILE]

Builds the CUDA library on a machine with a GPU (nvcc, compute-sanitizer, CMake and a C++ compiler; no JDK), runs its
tests on the device and under compute-sanitizer, and measures its kernels against a copy.

  --quick      the architecture of this device, a few shapes
  --json FILE  what was measured of row operations; FILE.kernels has the rest'

while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) echo "$usage"; exit 0 ;;
        --quick) quick=--quick ;;
        --json)
            [ $# -gt 1 ] || fail "--json: expected a file"
            case $2 in /*) json=$2 ;; *) json=$PWD/$2 ;; esac
            shift
            ;;
        *) echo "gpu-check: $1: unknown; ${usage%%$'\n'*}" >&2; exit 2 ;;
    esac
    shift
done

for folder in "${CUDA_HOME:-}" /usr/local/cuda; do
    if [ -n "$folder" ] && [ -d "$folder/bin" ]; then PATH="$PATH:$folder/bin:$folder/compute-sanitizer"; fi
done
if command -v nvidia-smi >/dev/null; then
    devices=$(nvidia-smi -L 2>&1) || fail "no CUDA device: $(head -n 1 <<<"$devices")"
    [ -n "$devices" ] || fail "no CUDA device: nvidia-smi lists none"
    echo "$devices"
else
    [ -e /dev/nvidiactl ] || fail "no CUDA device: neither nvidia-smi nor /dev/nvidiactl"
fi
for tool in cmake nvcc compute-sanitizer c++; do
    command -v "$tool" >/dev/null || fail "$tool is not on the PATH"
done

mkdir -p "$root/build"

section() {
    echo
    echo "== $*"
}

# four architectures take four times as long as the one of the device
architectures=()
[ -z "$quick" ] || architectures=(-DHORO_CUDA_ARCHITECTURES=native)
generator=()
if [ ! -e "$build/CMakeCache.txt" ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
targets=(horosphere horosphere_cuda test_device test_cuda_rows test_cuda_rows_emulated test_cuda_kernels
    test_cuda_kernels_emulated bench_rows bench_kernels)
[ -n "$quick" ] || targets+=(all)

section build
cd "$root"
cmake --preset cuda "${generator[@]}" "${architectures[@]}" \
    "-DCMAKE_CUDA_COMPILER=$(command -v nvcc)" -DHORO_CUDA_LINEINFO=ON >"$build.log" 2>&1 || {
    cat "$build.log" >&2
    fail "cmake could not configure"
}
SECONDS=0
cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}"
echo "built in $SECONDS s, $(stat -Lc %s "$build/native/libhorosphere_cuda.so") bytes of libhorosphere_cuda.so"

section tests
"$build/native/test/test_cuda_rows" --quick || fail "the row operations differ from the CPU's, or no device opened"
"$build/native/test/test_cuda_kernels" --quick || fail "layers, products, adapters, attention or sets differ from the CPU's"
if [ -n "$quick" ]; then
    ctest --test-dir "$build" --output-on-failure -R 'cuda|device'
else
    ctest --test-dir "$build" --output-on-failure --parallel 4
fi

section compute-sanitizer
for tool in memcheck racecheck initcheck; do
    echo "$tool"
    for kernels in rows kernels; do
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/native/test/test_cuda_$kernels" --quick ||
            fail "compute-sanitizer $tool, $kernels"
    done
done

bundle="$root/build/gpu-bundle"
if [ -e "$bundle.tar.gz" ]; then
    section java tests
    tar -C "$root/build" -xzf "$bundle.tar.gz"
    "$bundle/jre/bin/java" --enable-native-access=ALL-UNNAMED \
        "-Dhorosphere.library.path=$build/native" \
        -cp "$bundle/core:$bundle/jcuda:$bundle/lib/*" org.junit.platform.console.ConsoleLauncher execute \
        --scan-classpath "$bundle/core:$bundle/jcuda" --include-classname '.*GpuTest' --details tree \
        --fail-if-no-tests || fail "the Java tests"
else
    echo "no Java tests: build/gpu-bundle.tar.gz is not here (./horo gpu-bundle makes it where a JDK is)"
fi

section benchmark
"$build/cuda/bench_rows" $quick "$json"
"$build/cuda/bench_kernels" $quick "$json.kernels"
echo "written: $json and $json.kernels"
