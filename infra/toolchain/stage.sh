#!/bin/bash
# Run a command under a heading, and say how long it took and how it ended: stage.sh HEADING COMMAND...
heading=$1
shift
printf '\n== %s\n' "$heading"
SECONDS=0
"$@"
status=$?
if [ "$status" -eq 0 ]; then
    printf '== %s: passed in %d s\n' "$heading" "$SECONDS"
else
    printf '== %s: FAILED (status %d) after %d s: %s\n' "$heading" "$status" "$SECONDS" "$*"
fi
exit "$status"
