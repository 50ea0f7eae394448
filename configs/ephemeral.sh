#!/bin/sh
# Workers that live for one job: `airunner worker --once`, one after the other, with the options that
# this is given. SIGTERM or Ctrl-C ends it: an idle worker goes at once, and one with a job drains
# (--drain-timeout). A runner such as honcho stops all of a Procfile when one of its processes ends, so
# what restarts them is here.
set -eu

# A pipe whose only writer is this shell. The worker drains when that end is closed: so it is told
# once, whether a signal reaches us alone or our whole process group, and also if we are killed.
pipe=$(mktemp -u)
mkfifo -m 600 "$pipe"
exec 8<>"$pipe" 7<"$pipe"
rm "$pipe"

stopping=
trap 'stopping=yes; exec 8>&-' TERM INT HUP
while [ -z "$stopping" ]; do
    code=0
    airunner worker --once --lifeline-fd 7 "$@" 8>&- &
    wait $! || code=$?
    if [ -n "$stopping" ]; then
        wait $! || code=$?
    elif [ "$code" -eq 125 ]; then # it could not work at all, perhaps: not in a busy loop
        sleep 1 8>&- &
        wait $! || true
    fi
done
