"""The proof that a VM pulls through the cache: a real pull, found again in the edge's log."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg import accesslog, probes, store, waiting
from vmreg.errors import VmregError
from vmreg.stack import owner
from vmreg.vms.findings import Finding, fail, ok

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vmreg.accesslog import EdgeRecord
    from vmreg.engine import Finished
    from vmreg.probes import FreshProbe
    from vmreg.stack import Stack
    from vmreg.vms.provider import Connection

CHECK = "pull"
PULL_TIMEOUT_S = 30
LOG_TIMEOUT_S = 2
_KINDS = ("manifests", "blobs")
_OK, _TIMED_OUT = 200, 124


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


def pull(stack: Stack, vm: Connection, *, name: str, architecture: str) -> Finding:
    """Let a running VM pull an image that only the cache has, and return whether it came from it.

    Neither the cache nor the VM keeps the image. Takes half a second, and 30 s at most.

    :param architecture: the VM's, in Go's words.
    """
    data, log = stack.state / "data", stack.state / "logs" / "edge.jsonl"
    probe = probes.fresh(architecture=architecture)
    offset = _size(log)
    try:
        probes.put(data, probe, owner=owner() if os.geteuid() == 0 else None)
        done = _pull(vm, probe)
        return verdict(done, _trace(log, offset, probe, wait=done.exit_code == 0), name=name)
    except OSError as error:
        what = f"no probe image can be put into the cache: {error}"
        return fail(CHECK, what, f"vm doctor {name} as the user who started the cache, with space")
    except VmregError as error:
        what = f"the pull broke off: {error.brief}: {error.details}"
        return fail(CHECK, what, f"vm status {name}")
    finally:
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


def _pull(vm: Connection, probe: FreshProbe) -> Finished:
    limit = ("timeout", str(PULL_TIMEOUT_S))
    try:
        return vm.exec([*limit, "docker", "pull", "--quiet", probe.reference])
    finally:
        with suppress(VmregError):  # the VM is gone, and its images with it
            vm.exec([*limit, "docker", "image", "rm", "--force", probe.reference])


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
