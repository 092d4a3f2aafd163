#!/bin/sh
# The first program of a VM, below an init that reaps: makes the cgroups writable, then keeps
# dockerd running until it is told to stop. With the argument "dockerless" it only waits for that.
set -u

say() { printf 'vm: %s\n' "$*" >&2; }

# The engine mounts an unprivileged container's cgroups read-only, and dockerd must add to them.
unlock_cgroups() {
    while read -r _ point kind _; do
        case $kind in
            cgroup | cgroup2) mount -o remount,bind,rw "$point" || say "$point stays read-only" ;;
        esac
    done < /proc/mounts
}

# dockerd sets forwarding and the like for its bridges: these settings belong to the VM's own
# network. The rest of /proc/sys, which belongs to the host, stays read-only.
unlock_network_settings() {
    mount --bind /proc/sys/net /proc/sys/net &&
        mount -o remount,bind,rw /proc/sys/net ||
        say "/proc/sys/net stays read-only"
}

# With cgroup v2 a group that has processes of its own cannot hand controllers to its children.
delegate_controllers() {
    root=/sys/fs/cgroup
    [ -f "$root/cgroup.controllers" ] || return 0
    mkdir -p "$root/init"
    for pid in $(cat "$root/cgroup.procs"); do
        echo "$pid" > "$root/init/cgroup.procs" 2> /dev/null || :
    done
    for controller in $(cat "$root/cgroup.controllers"); do
        echo "+$controller" > "$root/cgroup.subtree_control" 2> /dev/null ||
            say "no cgroup controller $controller"
    done
}

# update-ca-certificates takes a second of CPU; appending gives the same bundle.
trust_certificates() {
    bundle=/etc/ssl/certs/ca-certificates.crt
    for certificate in /usr/local/share/ca-certificates/vmreg-*.crt; do
        [ -f "$certificate" ] && [ ! -f "$certificate.trusted" ] || continue
        cat "$certificate" >> "$bundle" && : > "$certificate.trusted"
    done
}

# Kernels without nf_tables still have the older interface.
choose_iptables() {
    iptables -t nat -nL > /dev/null 2>&1 && return
    iptables-legacy -t nat -nL > /dev/null 2>&1 || return
    update-alternatives --set iptables "$(command -v iptables-legacy)" > /dev/null
    update-alternatives --set ip6tables "$(command -v ip6tables-legacy)" > /dev/null
}

stopping=
dockerd=
stop() {
    stopping=1
    [ -z "$dockerd" ] || kill -TERM "$dockerd" 2> /dev/null
}

supervise() {
    trap stop TERM INT
    while [ -z "$stopping" ]; do
        # A file from a killed daemon may name a process that lives.
        rm -f /run/docker.pid
        dockerd &
        dockerd=$!
        # The signal may have come just before there was a process to pass it on to.
        [ -z "$stopping" ] || stop
        # A signal ends a wait early.
        while kill -0 "$dockerd" 2> /dev/null; do
            wait "$dockerd"
            status=$?
        done
        dockerd=
        [ -n "$stopping" ] && break
        say "dockerd ended with status $status and is started again"
        sleep 1 &
        wait $!
    done
}

unlock_cgroups
unlock_network_settings
delegate_controllers
trust_certificates
choose_iptables
if [ "${1:-}" = dockerless ]; then
    trap 'exit 0' TERM INT
    sleep infinity &
    wait $!
    exit
fi
command -v dockerd > /dev/null || {
    say "there is no dockerd in this image"
    exit 127
}
supervise
