#!/bin/sh
# health.sh URL: fails when URL does not answer; after three failures in a row it ends the
# container's main process, so that the restart policy heals a hang too. Rotates large logs.
url=$1
main=$(cat /tmp/main.pid)

for log in /logs/edge.jsonl /logs/origin.jsonl; do
    size=$(stat -c %s "$log" 2>/dev/null || echo 0)
    if [ "$size" -gt "${LOG_BYTES:-0}" ] && [ "${LOG_BYTES:-0}" -gt 0 ]; then
        mv -f "$log" "$log.1"
        kill -USR1 "$main"
    fi
done

# Counted before it is asked: the engine ends a check that takes too long.
echo x >>/tmp/failures
if timeout 3 wget -q -T 3 -O /dev/null "$url"; then
    rm -f /tmp/failures
    exit 0
fi
[ "$(wc -l </tmp/failures)" -ge 3 ] && rm -f /tmp/failures && kill -9 "$main"
exit 1
