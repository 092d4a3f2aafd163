#!/bin/sh
# First process of storage: mends what a power cut leaves, then becomes the registry.
set -eu
repositories=/data/docker/registry/v2/repositories

# An empty or torn state file stops every start (distribution 2374, 4478); nothing needs it here.
rm -f /data/scheduler-state.json

if [ -d "$repositories" ]; then
    # No upload is under way before the start, so what lies there is junk.
    find "$repositories" \( -name _layers -o -name _manifests \) -prune \
        -o -name _uploads -type d -prune -exec rm -rf {} +
    # A link that was cut short answers 500 for ever; without it the blob is fetched again.
    find "$repositories" -name link -type f ! -size 71c -exec rm -f {} +
fi

# Bytes that fail their digest must not be served from the fetch cache to the next one who asks.
watch() {
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in
            *"content does not match digest"*) find /fetch/blobs -type f -exec rm -f {} + ;;
        esac
    done
}
rm -f /tmp/log
mkfifo /tmp/log
watch </tmp/log &
echo $$ >/tmp/main.pid
for registry in docker-registry registry; do  # Debian's name, the official image's
    if command -v "$registry" >/dev/null; then
        exec "$registry" serve /etc/vmreg/registry.yml >/tmp/log 2>&1
    fi
done
echo "this image carries no registry" >&2
exit 127
