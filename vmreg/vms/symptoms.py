"""What a VM says about itself, asked in one go, and how it finds what it is told to reach."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from vmreg.errors import VmregError
from vmreg.serving import HOST_NAME
from vmreg.vms import provision
from vmreg.vms.provider import DAEMON_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmreg.vms.provider import Connection

DATA_ROOT = "/var/lib/docker"
# The folder that comes first hides the other one, whatever is in it. One that is named after
# registry-1.docker.io is passed over: measured with 28.5.
HOSTS_FILES = tuple(f"/etc/docker/certs.d/{host}/hosts.toml" for host in ("docker.io", "_default"))
_SNAPSHOTTER = "io.containerd.snapshotter.v1"
_NOT_FOUND, _TIMED_OUT = 127, 124
_ANSWER_FIELDS = 3
_MOST_DIGITS = 18

# One line for each question: its name, the exit status, the output in base64. A question that is
# not answered in 8 s costs no more than that.
_SURVEY = """
tell() {
    key=$1; shift
    out=$(timeout 8 "$@" 2>&1); status=$?
    printf '%s %s %s\\n' "$key" "$status" "$(printf '%s' "$out" | base64 | tr -d '\\n')"
    return "$status"
}
tell clock date +%s
root=
if tell version docker version --format '{{.Server.Version}} {{.Server.Arch}}'; then
    tell info docker info --format '{{json .}}'
    root=$(printf '%s' "$out" | sed -n 's/.*"DockerRootDir":"\\([^"]*\\)".*/\\1/p')
fi
root=${root:-$2}
tell address getent ahostsv4 "$1"
[ ! -e "$3" ] || tell daemon cat "$3"
shift 3
for file; do
    [ -d "${file%/*}" ] || continue
    tell "$file" cat "$file"
    break
done
tell space df -P -k "$root"
tell inodes df -P -i "$root"
tell write sh -c 'head -c 65536 /dev/zero > "$0"; was=$?; rm -f "$0"; exit $was' "$root/.vmreg-try"
exit 0
"""

# $1 and $2 are where to, $3 is what to ask for, if anything. The connection is tried by itself
# first, so that a host that cannot be reached is told from one that does not answer.
_REACH = """
timeout 4 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" || exit
[ -n "$3" ] || exit 0
echo connected
timeout 5 bash -c '
    exec 3<>"/dev/tcp/$0/$1"
    printf "GET %s HTTP/1.0\\r\\nHost: %s\\r\\nAccept: %s\\r\\n\\r\\n" "$2" "$0:$1" "$3" >&3
    cat <&3
' "$1" "$2" "$3" "$4"
"""


class Store(Enum):
    """Where an engine keeps its images."""

    CLASSIC = "classic"
    CONTAINERD = "containerd"


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A dockerd that answers.

    :param architecture: in Go's words, such as ``amd64``.
    :param driver: what unpacks its layers.
    :param mirrors: those that it uses, in order, without a slash at the end.
    :param insecure: ``host:port`` of the registries that it was told to speak http to.
    :param proxy: what it sends plain HTTP requests through; empty for none.
    :param no_proxy: the hosts that it reaches directly, as it was given them.
    :param root: the folder of its images and containers.
    """

    version: str
    architecture: str
    store: Store
    driver: str
    mirrors: tuple[str, ...]
    insecure: tuple[str, ...] = ()
    proxy: str
    no_proxy: str
    root: str

    @property
    def major(self) -> int:
        """The release's first number, 0 when it has none."""
        first = self.version.partition(".")[0]
        return int(first) if _is_number(first) else 0


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The disk of a VM's images; a number is ``None`` where it is not known.

    :param refusal: what the VM said when a small file was written there; empty when it was.
    """

    root: str
    free_bytes: int | None
    free_inodes: int | None
    refusal: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a running VM says of itself.

    :param clock_s: its clock, seconds since the epoch, ``None`` when it has no ``date``.
    :param daemon: ``None`` when no dockerd answers; ``silence`` then says why.
    :param has_docker: whether there is a docker command at all.
    :param addresses: what ``host.docker.internal`` resolves to, each once.
    :param hung: whether there is a dockerd that takes connections and does not answer.
    :param settings_text: its ``daemon.json``, empty without one.
    :param settings_trouble: why that cannot be read, empty when it can or is not there.
    :param hosts_path: the ``hosts.toml`` that a containerd image store looks at for Docker Hub,
        there or not; empty without its folder.
    :param hosts_text: what is in it.
    """

    clock_s: float | None
    daemon: Daemon | None
    silence: str
    has_docker: bool
    addresses: tuple[str, ...]
    settings_text: str
    hosts_path: str
    hosts_text: str
    disk: Disk
    hung: bool = False
    settings_trouble: str = ""

    def configured_mirrors(self) -> tuple[str, ...]:
        """Return the mirrors of ``daemon.json``, in order, without a slash at the end.

        :raises VmregError: the file is not valid, or cannot be read.
        """
        return tuple(one.rstrip("/") for one in provision.mirrors(self.settings()))

    def configured_plain(self) -> tuple[str, ...]:
        """Return the registries of ``daemon.json`` that dockerd may speak http to, as written.

        :raises VmregError: the file is not valid, or cannot be read.
        """
        listed = self.settings().get(provision.INSECURE)
        found = listed if isinstance(listed, list) else ()
        return tuple(one.rstrip("/") for one in found if isinstance(one, str))

    def settings(self) -> dict[str, object]:
        """Return the keys of ``daemon.json``.

        :raises VmregError: the file is not valid, or cannot be read.
        """
        if self.settings_trouble:
            brief = f"{DAEMON_JSON} in the VM cannot be read"
            raise VmregError(brief=brief, details=self.settings_trouble)
        try:
            return provision.parse_settings(self.settings_text)
        except (ValueError, RecursionError) as error:  # an endless number, a bottomless list
            brief = f"{DAEMON_JSON} in the VM cannot be understood"
            raise VmregError(brief=brief, details=str(error)) from error


class Way(Enum):
    """How far a VM comes on its way to an address."""

    ANSWERED = "answered"
    SILENT = "silent"
    REFUSED = "refused"
    DROPPED = "dropped"
    NO_ROUTE = "no route"
    UNKNOWN = "unknown"


# What bash says when it cannot connect.
_WORDS = {
    "Connection refused": Way.REFUSED,
    "timed out": Way.DROPPED,
    "No route to host": Way.NO_ROUTE,
    "unreachable": Way.NO_ROUTE,
}


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What became of a connection from inside a VM.

    :param status: of the HTTP answer, 0 when it was none.
    :param body: what the answer carried, or what the VM said of the failure.
    """

    way: Way
    status: int = 0
    body: str = ""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int
    text: str


def ask(vm: Connection) -> Facts:
    """Return what a VM says of itself; nothing is changed in it. Takes a quarter of a second.

    :raises VmregError: the VM is not running, or has no shell.
    """
    argv = ["sh", "-c", _SURVEY, "sh", HOST_NAME, DATA_ROOT, DAEMON_JSON, *HOSTS_FILES]
    return parse(vm.exec(argv).output)


def reach(vm: Connection, host: str, port: int, *, path: str = "", accept: str = "*/*") -> Reach:
    """Return how far a VM comes on its way to a TCP port, within ten seconds.

    :param path: what to ask for by HTTP; without it a connection is all that is tried.
    :raises VmregError: the VM is not running, or has no ``bash``.
    """
    done = vm.exec(["bash", "-c", _REACH, "bash", host, str(port), path, accept])
    return way_of(done.exit_code, done.output, done.errors, asked=bool(path))


def parse(text: str) -> Facts:
    """Return the facts that the VM printed; what is missing or damaged is not known."""
    answers = dict(_answers(text))
    version = answers.get("version", _Answer(status=1, text="docker was not asked"))
    hosts_path = next((path for path in HOSTS_FILES if path in answers), "")
    return Facts(
        clock_s=_number(answers, "clock"),
        daemon=_daemon(answers),
        silence=_silence(version),
        has_docker=version.status != _NOT_FOUND,
        addresses=_addresses(answers),
        hung=version.status == _TIMED_OUT,
        settings_text=_text(answers, "daemon"),
        settings_trouble=_trouble(answers, "daemon"),
        hosts_path=hosts_path,
        hosts_text=_text(answers, hosts_path),
        disk=_disk(answers),
    )


def way_of(exit_code: int, output: str, errors: str, *, asked: bool) -> Reach:
    """Return what the exit status and the words of a connection attempt mean."""
    first, _, answer = output.partition("\n")
    if first == "connected":
        return _answered(answer)
    if exit_code == 0 and not asked:
        return Reach(way=Way.ANSWERED)
    last = _last_line(errors)
    if exit_code == _TIMED_OUT:
        return Reach(way=Way.DROPPED, body=last)
    kinds = (way for words, way in _WORDS.items() if words in errors)
    return Reach(way=next(kinds, Way.UNKNOWN), body=last)


def _answered(answer: str) -> Reach:
    head, _, body = answer.partition("\r\n\r\n")
    words = head.split()
    if len(words) > 1 and words[0].startswith("HTTP/") and _is_number(words[1]):
        return Reach(way=Way.ANSWERED, status=int(words[1]), body=body)
    return Reach(way=Way.ANSWERED if head else Way.SILENT, body=head[:200])


def _answers(text: str) -> list[tuple[str, _Answer]]:
    found = []
    for line in text.splitlines():
        fields = [*line.split(" "), ""]
        if len(fields) < _ANSWER_FIELDS:
            continue
        try:
            output = base64.b64decode(fields[2], validate=True).decode(errors="replace")
            found.append((fields[0], _Answer(status=int(fields[1]), text=output)))
        except (ValueError, binascii.Error):
            continue
    return found


def _daemon(answers: Mapping[str, _Answer]) -> Daemon | None:
    version, info = answers.get("version"), answers.get("info")
    if version is None or info is None or version.status or info.status:
        return None
    try:
        line = next(line for line in info.text.splitlines() if line.startswith("{"))
        number, architecture = version.text.splitlines()[-1].split()
        return _described(json.loads(line), number, architecture)
    except (
        StopIteration, ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError
    ):  # fmt: skip
        return None


def _described(info: dict[str, Any], version: str, architecture: str) -> Daemon:
    indexes = info["RegistryConfig"].get("IndexConfigs") or {}
    kind = dict(info["DriverStatus"] or ()).get("driver-type")
    return Daemon(
        version=version,
        architecture=architecture,
        store=Store.CONTAINERD if kind == _SNAPSHOTTER else Store.CLASSIC,
        driver=str(info["Driver"]),
        mirrors=tuple(one.rstrip("/") for one in info["RegistryConfig"]["Mirrors"] or ()),
        insecure=tuple(key for key, one in indexes.items() if one["Secure"] is False),
        proxy=str(info.get("HttpProxy") or ""),
        no_proxy=str(info.get("NoProxy") or ""),
        root=str(info["DockerRootDir"]),
    )


def _silence(version: _Answer) -> str:
    if version.status == _TIMED_OUT:
        return "no answer in 8 s"
    return _last_line(version.text) if version.status else "its answer was not understood"


def _addresses(answers: Mapping[str, _Answer]) -> tuple[str, ...]:
    lines = _text(answers, "address").splitlines()
    return tuple(dict.fromkeys(line.split()[0] for line in lines if line.strip()))


def _disk(answers: Mapping[str, _Answer]) -> Disk:
    daemon = _daemon(answers)
    blocks = _free(answers, "space")
    return Disk(
        root=daemon.root if daemon else DATA_ROOT,
        free_bytes=None if blocks is None else blocks * 1024,
        free_inodes=_free(answers, "inodes"),
        refusal=_trouble(answers, "write"),
    )


def _free(answers: Mapping[str, _Answer], key: str) -> int | None:
    """Return the fourth column of ``df``; a file system that counts no inodes says 0 of 0."""
    lines = _text(answers, key).splitlines()
    columns = lines[-1].split() if lines else []
    numbers = [int(one) for one in columns[1:4] if _is_number(one)]
    return numbers[2] if len(numbers) == 3 and numbers[0] else None  # noqa: PLR2004 - all, used, free


def _number(answers: Mapping[str, _Answer], key: str) -> float | None:
    text = _text(answers, key).strip()
    return float(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def _text(answers: Mapping[str, _Answer], key: str) -> str:
    answer = answers.get(key)
    return answer.text if answer is not None and answer.status == 0 else ""


def _trouble(answers: Mapping[str, _Answer], key: str) -> str:
    answer = answers.get(key)
    if answer is None or answer.status == 0:
        return ""
    return _last_line(answer.text) or "it failed"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""
