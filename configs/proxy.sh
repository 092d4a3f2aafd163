#!/bin/sh
# First process of the proxy: leaves its number for the health check and becomes nginx.
set -eu
mkdir -p /fetch/blobs /fetch/upstream /fetch/heads /fetch/tags
rm -f /tmp/*.sock
echo $$ >/tmp/main.pid
exec nginx -e stderr -c /etc/vmreg/nginx.conf
