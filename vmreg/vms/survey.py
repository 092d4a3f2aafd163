"""What is in a running VM that pulls images, seen in one look."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmreg.errors import VmregError
from vmreg.serving import HOST_NAME
from vmreg.vms.files import File
from vmreg.vms.provider import DAEMON_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmreg.vms.provider import Connection

DOCKER_HOSTS = "/etc/docker/certs.d/docker.io/hosts.toml"
DEFAULT_HOSTS = "/etc/docker/certs.d/_default/hosts.toml"
CONTAINERD_HOSTS = "/etc/containerd/certs.d/docker.io/hosts.toml"
HUB_FOLDER = "certs.d/docker.io"
# The daemon.json that a restart of dockerd started from; there only while one is under way.
MARKER = f"{DAEMON_JSON}.vmreg-old"
BUILDKITD = "/etc/buildkit/buildkitd.toml"
BUILDX = ".docker/buildx/buildkitd.default.toml"
PODMAN_FOLDER = "/etc/containers/registries.conf.d"
PODMAN_MAIN = "/etc/containers/registries.conf"
# The last one read is the one that counts.
PODMAN_OURS = f"{PODMAN_FOLDER}/zz-vmreg.conf"
_FILES = (
    DAEMON_JSON,
    MARKER,
    DOCKER_HOSTS,
    DEFAULT_HOSTS,
    CONTAINERD_HOSTS,
    BUILDKITD,
    PODMAN_MAIN,
)
# What the look says of dockerd in the same words.
_NO_TOOLS = {"dockerd", "dead", "live-restore"}

# $1 is the mirror's host, the rest are files to read. One line each, tabs in between; dockerd's
# own word comes last and takes longest.
_LOOK = """
host=$1
shift
root=$(eval echo ~root)
printf 'root\\t%%s\\n' "$root"
read_() {
    [ -e "$1" ] || [ -L "$1" ] || return
    [ -e "$1" ] && found=file || found=link
    [ ! -e "$1" ] || [ -f "$1" ] || { printf 'odd\\t%%s\\n' "$1"; return; }
    printf '%%s\\t%%s\\t%%s\\t' "$found" "$1" "$(readlink -m "$1")"
    [ -e "$1" ] && base64 -w0 "$1"
    echo
}
for path in "$@" "$root/%s" %s/*.conf; do read_ "$path"; done
has() { printf 'has\\t%%s\\n' "$1"; }
for tool in buildkitd podman buildah skopeo; do command -v "$tool" > /dev/null && has "$tool"; done
for folder in "$root/.docker" /usr/local/lib/docker /usr/local/libexec/docker \\
    /usr/lib/docker /usr/libexec/docker; do
    [ -x "$folder/cli-plugins/docker-buildx" ] && has buildx
done
[ -d /etc/docker/certs.d/docker.io ] && has certs.d/docker.io
[ -z "$host" ] || printf 'address\\t%%s\\n' "$(getent ahostsv4 "$host" | sed 's/ .*//;q')"
# A dockerd that dies of its own file has neither a socket nor a process, but it should have.
boot=$(tr '\\0' ' ' < /proc/1/cmdline)
[ -S /var/run/docker.sock ] || [ -e /var/run/docker.pid ] ||
    [ "${boot%%vmreg-boot }" != "$boot" ] || exit 0
has dockerd
# One that is being restarted takes a moment.
tries=1
[ ! -e %s ] || tries=20
while :; do
    info=$(timeout 20 docker info --format '{{json .}}' 2> /dev/null)
    # Without a server the client of 20.10 tells of itself, and calls that a success.
    case $info in *'"ServerVersion":"'[!\\"]*) break ;; esac
    info=
    tries=$((tries - 1))
    [ $tries -gt 0 ] || break
    sleep 0.5
done
pid=$(cat /var/run/docker.pid 2> /dev/null) && [ -d "/proc/$pid" ] || has dead
tr '\\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -q -e --live-restore && has live-restore
[ -z "$info" ] || printf 'info\\t%%s\\n' "$info"
exit 0
"""


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """What a running dockerd says of itself.

    :param version: its release, such as ``28.5.2``.
    :param mirrors: the mirrors that it uses, without a slash at the end.
    :param snapshotter: whether it keeps images in containerd.
    :param proxies: what it asks for http and for https addresses, empty for none.
    :param no_proxy: what it asks directly all the same.
    :param running: how many containers it runs, paused ones too.
    :param flagged: whether ``live-restore`` is one of its arguments.
    """

    version: str
    mirrors: tuple[str, ...]
    snapshotter: bool
    proxies: Mapping[str, str]
    no_proxy: str
    live_restore: bool
    running: int
    swarm: bool
    flagged: bool

    @property
    def major(self) -> int:
        """The release's first number, 0 when it has none."""
        first = self.version.partition(".")[0]
        return int(first) if first.isdecimal() else 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one look has found.

    :param files: those that are there, by the path that their readers know.
    :param tools: which of ``buildx``, ``buildkitd``, ``podman``, ``buildah``, ``skopeo`` there are,
        and :data:`HUB_FOLDER`.
    :param root: root's home.
    :param address: the mirror's IPv4 address, empty when it has none.
    :param daemon: dockerd, ``None`` in a VM that does without it.
    """

    files: Mapping[str, File]
    tools: frozenset[str]
    root: str
    address: str
    daemon: Daemon | None

    def file(self, path: str) -> File:
        """Return a file; one that is not there has no text."""
        return self.files.get(path, File(path=path, text=None))

    @property
    def buildx(self) -> str:
        """The path of what buildx gives to the builders that root makes."""
        return f"{self.root}/{BUILDX}"


def look(vm: Connection, *, host: str = HOST_NAME) -> Found:
    """Return what is in a VM, with a single command; nothing is changed.

    :param host: the mirror's host name, empty for no mirror.
    :raises VmregError: dockerd should run and does not answer, or a file is not text.
    """
    done = vm.exec(["sh", "-c", _LOOK % (BUILDX, PODMAN_FOLDER, MARKER), "sh", host, *_FILES])
    if done.exit_code:
        raise VmregError(
            brief="cannot look into the VM",
            details=done.errors.strip(),
            resolution="It needs a shell and the core utilities of a Linux system.",
        )
    rows = [line.split("\t") for line in done.output.splitlines()]
    tools = {row[1] for row in rows if row[0] == "has"}
    info = next((row[1] for row in rows if row[0] == "info"), "")
    if "dockerd" in tools and not info:
        raise VmregError(
            brief=f"the VM's dockerd does not {'run' if 'dead' in tools else 'answer'}",
            details=vm.daemon_log(),
            resolution=f"Correct what its last lines name, {DAEMON_JSON} for instance, or start the"
            " VM again; nothing was changed.",
        )
    odd = next((row[1] for row in rows if row[0] == "odd"), "")
    if odd:
        raise VmregError(
            brief=f"{odd} in the VM is not a file",
            resolution="Move it out of the way; nothing was changed.",
        )
    files = {row[1]: _file(row) for row in rows if row[0] in {"file", "link"}}
    return Found(
        files=files,
        tools=frozenset(tools - _NO_TOOLS),
        root=next(row[1] for row in rows if row[0] == "root"),
        address=next((row[1] for row in rows if row[0] == "address"), ""),
        daemon=_daemon(json.loads(info), flagged="live-restore" in tools) if info else None,
    )


def _file(row: list[str]) -> File:
    kind, path, place, content = row
    try:
        text = base64.b64decode(content).decode()
    except ValueError as error:
        raise VmregError(
            brief=f"{path} in the VM is not UTF-8 text",
            details=str(error),
            resolution="Correct or remove it; nothing was changed.",
        ) from error
    return File(path=place, text=text if kind == "file" else None)


def _daemon(info: Mapping[str, Any], *, flagged: bool) -> Daemon:
    mirrors = (info.get("RegistryConfig") or {}).get("Mirrors") or []
    status = info.get("DriverStatus") or []
    return Daemon(
        version=str(info["ServerVersion"]),
        mirrors=tuple(one.rstrip("/") for one in mirrors),
        snapshotter=any(value.startswith("io.containerd.snapshotter") for _, value in status),
        proxies={
            "http": info.get("HttpProxy") or "",
            "https": info.get("HttpsProxy") or "",
        },
        no_proxy=info.get("NoProxy") or "",
        live_restore=bool(info.get("LiveRestoreEnabled")),
        running=int(info.get("ContainersRunning", 0)) + int(info.get("ContainersPaused", 0)),
        swarm=(info.get("Swarm") or {}).get("LocalNodeState", "inactive") != "inactive",
        flagged=flagged,
    )
