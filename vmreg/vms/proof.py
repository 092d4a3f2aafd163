"""The proof that a VM pulls through the cache: a real pull, found again in the edge's log."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg import accesslog, probes, store, waiting
from vmreg.errors import VmregError
from vmreg.interrupts import unwinding
from vmreg.vms.findings import Finding, fail, ok

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vmreg.accesslog import EdgeRecord
    from vmreg.engine import Finished
    from vmreg.probes import FreshProbe
    from vmreg.vms.provider import Connection

CHECK = "pull"
PULL_TIMEOUT_S = 30
IMAGES_TIMEOUT_S = 10
LOG_TIMEOUT_S = 2
_KINDS = ("manifests", "blobs")
_OK, _TIMED_OUT = 200, 124

# The VM itself removes the image, so that it does when nobody waits for it any more.
_PULL = """
timeout "$1" docker pull --quiet "$3"
ended=$?
timeout "$2" docker image rm --force "$3" > /dev/null 2>&1
exit "$ended"
"""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What the edge's log shows of the pull of one probe.

    :param requests: how many requests were for it.
    :param sent_bytes: what was sent of its parts, each counted once.
    :param wanted_bytes: the size of its parts.
    :param statuses: the answers' statuses, each once, in order.
    """

    requests: int
    sent_bytes: int
    wanted_bytes: int
    statuses: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether all of the probe went through the edge."""
        return self.sent_bytes == self.wanted_bytes


def may_write(state: Path) -> bool:
    """Return whether the cache in a folder is one's own, so that probes can be put into it."""
    try:
        return os.geteuid() in {0, (state / "data").stat().st_uid}
    except OSError:
        return False


def pull(state: Path, vm: Connection, *, name: str, architecture: str) -> Finding:
    """Let a running VM pull an image that only the cache has, and return whether it came from it.

    Neither the cache nor the VM keeps the image, also when a signal ends the program meanwhile.
    Takes half a second, and a minute at most.

    :param state: the folder of the cache that the VM should reach.
    :param architecture: the VM's, in Go's words.
    """
    data = state / "data"
    probe = probes.fresh(architecture=architecture)
    with unwinding() as signals:
        try:
            probes.put(data, probe, owner=_owner(data))
            return _tried(state, vm, probe, name)
        except OSError as error:
            what = f"no probe image can be put into the cache: {error}"
            remedy = f"vm doctor {name} as the user who started the cache, with space"
            return fail(CHECK, what, remedy)
        except VmregError as error:
            what = f"the pull broke off: {error.brief}: {error.details}"
            return fail(CHECK, what, f"vm status {name}")
        finally:
            signals.hold()
            with suppress(OSError):  # the next probe removes it
                probes.remove(data, probe.tag)


def trace(records: Iterable[EdgeRecord], probe: FreshProbe) -> Trace:
    """Return what some of the edge's records show of a probe's pull."""
    sizes = probe.sizes_bytes
    base = f"/v2/{store.PROBE_REPOSITORY}"
    manifest = probe.image.manifest_digest
    names = {
        f"{base}/manifests/{probe.tag}": manifest,
        **{
            f"{base}/{kind}/{digest}": digest for digest in sizes for kind in ("manifests", "blobs")
        },
    }
    found = [one for one in records if one.uri in names]
    sent: dict[str, int] = {}
    for one in found:
        if one.method == "GET" and one.status == _OK:
            digest = names[one.uri]
            sent[digest] = max(one.sent_bytes, sent.get(digest, 0))
    return Trace(
        requests=len(found),
        sent_bytes=sum(sent.values()),
        wanted_bytes=sum(sizes.values()),
        statuses=tuple(dict.fromkeys(one.status for one in found)),
    )


def verdict(done: Finished, seen: Trace, *, name: str) -> Finding:
    """Return what a pull's end and its trace in the log mean together."""
    counted = f"{seen.requests} requests, {seen.sent_bytes} of {seen.wanted_bytes} bytes"
    if done.exit_code == 0 and seen.whole:
        return ok(CHECK, f"a fresh image came through the cache: {counted}")
    if done.exit_code == 0:
        what = f"the VM has a fresh image, but the cache's log shows only {counted}"
        return fail(CHECK, what, f"vm registry logs, then vm doctor {name} again")
    late = done.exit_code == _TIMED_OUT
    said = f"no end within {PULL_TIMEOUT_S} s" if late else done.errors or done.output
    if not seen.requests:
        what = f"dockerd did not ask the cache for a fresh image: {said}"
        return fail(CHECK, what, f"vm provision {name}")
    answers = ", ".join(map(str, seen.statuses))
    what = (
        f"the cache was asked for a fresh image and answered {answers}, and the pull failed: {said}"
    )
    return fail(CHECK, what, f"vm logs {name}; vm registry logs")


def _tried(state: Path, vm: Connection, probe: FreshProbe, name: str) -> Finding:
    log = state / "logs" / "edge.jsonl"
    try:
        offset = _size(log)
        done = _pull(vm, probe)
        return verdict(done, _trace(log, offset, probe, wait=done.exit_code == 0), name=name)
    except OSError as error:
        what = f"the cache's log cannot be read: {error}"
        return fail(CHECK, what, f"vm doctor {name} as the user who started the cache")


def _owner(data: Path) -> tuple[int, int] | None:
    """Return whom root gives the files to: the user that the cache runs as."""
    if os.geteuid():
        return None
    there = data.stat()
    return there.st_uid, there.st_gid


def _pull(vm: Connection, probe: FreshProbe) -> Finished:
    _remove_left_over(vm)
    limits = (str(PULL_TIMEOUT_S), str(IMAGES_TIMEOUT_S))
    return vm.exec(["sh", "-c", _PULL, "sh", *limits, probe.reference])


def _remove_left_over(vm: Connection) -> None:
    """Remove from the VM what a killed process left in it more than ten minutes ago."""
    limit = ("timeout", str(IMAGES_TIMEOUT_S))
    done = vm.exec([*limit, "docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])
    old = left_over(done.output)
    if old:
        vm.exec([*limit, "docker", "image", "rm", "--force", *old])


def left_over(listed: str) -> tuple[str, ...]:
    """Return which of a VM's images are probes that nobody waits for any more.

    :param listed: ``REPOSITORY:TAG`` of all its images, one a line.
    """
    names = (line.rpartition(":") for line in listed.splitlines())
    return tuple(
        f"docker.io/{store.PROBE_REPOSITORY}:{tag}"
        for repository, _, tag in names
        if repository.removeprefix("docker.io/") == store.PROBE_REPOSITORY
        and probes.is_left_over(tag)
    )


def _trace(log: Path, offset: int, probe: FreshProbe, *, wait: bool) -> Trace:
    """Read the log, a little later again while an answer to a pull that ended is missing."""

    def read() -> Trace:
        since = offset if _size(log) >= offset else 0  # a new log was begun meanwhile
        return trace(accesslog.edge(log, offset=since), probe)

    def whole() -> Trace | None:
        seen = read()
        return seen if seen.whole else None

    try:
        return waiting.until(whole, what="the log entry", timeout_s=LOG_TIMEOUT_S if wait else 0)
    except VmregError:
        return read()


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0
