#!/bin/sh
# Runs nvcc and keeps what ptxas says of registers and spills in OBJECT.ptxas instead of on the screen.
log=
for word; do
    [ "$previous" = -o ] && log=$word.ptxas
    previous=$word
done
[ -n "$log" ] || exec "$@"
"$@" >"$log" 2>&1
status=$?
[ $status = 0 ] && grep -v '^ptxas info\|^ *[0-9]* bytes stack frame\|^$' "$log" >&2
[ $status = 0 ] || cat "$log" >&2
exit $status
