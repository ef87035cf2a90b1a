#!/usr/bin/env bash
# horo gpu-bundle: packs what the Java tests of a device need into build/gpu-bundle.tar.gz (a small Java runtime, jars,
# classes), for a machine with a GPU and without a JDK. Carry the file there beside the sources: horo gpu-check runs the
# tests if it finds it.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
bundle="$root/build/gpu-bundle"
java=$1 # of a JDK, given by horo
jlink="${java%/java}/jlink"
if [ "${2:-}" = --help ] || [ "${2:-}" = -h ]; then
    echo "usage: horo gpu-bundle"
    echo
    echo "Packs the Java tests of a device with a small Java runtime into build/gpu-bundle.tar.gz, for a machine with a GPU and"
    echo "without a JDK: beside the sources there, horo gpu-check runs them. Builds the project first."
    exit 0
fi
[ $# -eq 1 ] || { echo "usage: horo gpu-bundle" >&2; exit 2; }
[ -x "$jlink" ] || { echo "gpu-bundle: no jlink beside $java" >&2; exit 1; }

cd "$root"
rm -rf "$bundle"
mkdir -p "$bundle/lib"
mvn -q -B -DskipTests -Dspotless.check.skip=true -pl java/horosphere-jcuda -am test-compile \
    dependency:copy-dependencies -DincludeGroupIds=org.jcuda "-DoutputDirectory=$bundle/lib"
mvn -q -B dependency:copy -N -Dartifact=org.junit.platform:junit-platform-console-standalone:1.13.4 \
    "-DoutputDirectory=$bundle/lib"
for module in core jcuda; do
    cp -r "java/horosphere-$module/target/classes" "$bundle/$module"
    cp -r "java/horosphere-$module/target/test-classes/." "$bundle/$module"
done
rm -rf "$bundle"/*/META-INF/native # the libraries built on the machine with the GPU are used
"$jlink" --add-modules java.base,java.logging,java.management,java.xml,jdk.unsupported \
    --strip-debug --no-header-files --no-man-pages --compress zip-9 --output "$bundle/jre"
tar -C "$root/build" -czf "$bundle.tar.gz" gpu-bundle
rm -r "$bundle"
du -h "$bundle.tar.gz"
