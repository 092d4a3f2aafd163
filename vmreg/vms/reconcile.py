"""Brings everything in a running VM that pulls images to the mirror, or away from it.

One look, a plan of all changes, and only then the changes: a file that cannot be understood stops
all of it before anything is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vmreg.serving import HOST_NAME
from vmreg.vms import clients, restarting, survey
from vmreg.vms import provision as dockerd
from vmreg.vms.files import File, check_size, replace
from vmreg.vms.provider import DAEMON_JSON
from vmreg.vms.proxies import goes_around

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from vmreg.vms.provider import Connection
    from vmreg.vms.survey import Daemon, Found

# Before this release dockerd refuses the key.
PROXIES_KEY = 23


@dataclass(frozen=True, kw_only=True)
class DaemonChange:
    """What is to become of dockerd.

    :param old: its ``daemon.json`` as it is.
    :param settings: the whole of its new ``daemon.json``.
    :param why_restart: why a reload is not enough, empty when it is.
    """

    old: File
    settings: Mapping[str, object]
    why_restart: str


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A file that is to be replaced, and the sentence that says what for."""

    file: File
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What everything is to use.

    :param mirror: the mirror's address, ``None`` for none.
    :param ours: hosts whose mirrors are the cache, or were.
    """

    mirror: str | None
    ours: frozenset[str]

    @property
    def scheme(self) -> str:
        """The mirror's scheme, empty without a mirror."""
        return urlsplit(self.mirror or "").scheme

    @property
    def host(self) -> str:
        """The mirror's host name, empty without a mirror."""
        return urlsplit(self.mirror or "").hostname or ""

    @property
    def port(self) -> int:
        """The mirror's TCP port."""
        return urlsplit(self.mirror or "").port or {"https": 443}.get(self.scheme, 80)


def provision(
    vm: Connection, mirror: str | None, *, known: Collection[str] = (HOST_NAME,)
) -> tuple[str, ...]:
    """Let everything in a running VM pull through a mirror, or nothing any more.

    That is dockerd with its builders, builders that buildx makes later, buildkitd, containerd's
    and podman's files, each where it is there; whatever else their files say is kept. No container
    is stopped. A second call changes nothing.

    :param mirror: ``http://HOST:PORT``, or ``None`` to take the cache out again.
    :param known: host names under which the cache is, or was, a mirror here.
    :returns: a sentence for each change; empty when there was nothing to do.
    :raises UsageError: the mirror is not an http or https address.
    :raises VmregError: a file is not valid, and then nothing was changed; or dockerd refused its
        new settings, and then its old ones are back.
    """
    if mirror is not None:
        mirror = dockerd.checked(mirror)
    found = survey.look(vm, host=urlsplit(mirror or "").hostname or HOST_NAME)
    wanted = Wanted(mirror=mirror, ours=frozenset(known))
    change = daemon_change(found, wanted)
    files = tuple(file_changes(found, wanted))
    if change:
        check_size(change.old, File(path=change.old.path, text=dockerd.text_of(change.settings)))
    check_size(*(found.file(one.file.path) for one in files), *(one.file for one in files))
    said = _apply(vm, found.daemon, change, wanted) if change and found.daemon else ()
    if files:
        replace(vm, *(one.file for one in files))
    return (*said, *(one.sentence for one in files))


def daemon_change(found: Found, wanted: Wanted) -> DaemonChange | None:
    """Return what dockerd needs, ``None`` when it has it or is not there.

    :raises VmregError: its file is not valid.
    """
    daemon = found.daemon
    if daemon is None:
        return None
    old = found.file(DAEMON_JSON)
    given = dockerd.parse_settings(old.text or "")
    marker = found.file(survey.MARKER).text
    before = restarting.undone(given, marker)
    if before != given:
        old = File(path=old.path, text=dockerd.text_of(before))
    https_alone = daemon.major < dockerd.PLAIN_BUILDKIT
    after = dockerd.without_hosts(before, wanted.ours - {wanted.host})
    after = dockerd.without_plain(after, wanted.ours) if https_alone else after
    if wanted.mirror is not None:
        after = dockerd.with_mirror(after, wanted.mirror)
        after = dockerd.with_plain(after, wanted.mirror) if https_alone else after
    stale = daemon.mirrors != tuple(one.rstrip("/") for one in dockerd.mirrors(after))
    why = ""
    if daemon.major < dockerd.LIVE_BUILDKIT and (stale or after != given):
        why = f"BuildKit in Docker {daemon.major} reads its mirrors only when that starts"
    if _is_proxied(daemon, wanted):
        after = _without_proxy(after, daemon, wanted)
        why = "it reads its proxies only when it starts"
    if marker is not None and not why:
        why = "an earlier restart was cut short"
    if after == given and not stale and not why:
        return None
    return DaemonChange(old=old, settings=after, why_restart=why)


def file_changes(found: Found, wanted: Wanted) -> Iterator[FileChange]:
    """Yield what changes in the files of everything but dockerd.

    :raises VmregError: a file is not valid, or cannot be added to.
    """
    yield from _hosts_changes(found, wanted)
    yield from _buildkit_changes(found, wanted)
    yield from _podman_changes(found, wanted)


def _hosts_changes(found: Found, wanted: Wanted) -> Iterator[FileChange]:
    for path, base in (
        (survey.DOCKER_HOSTS, _docker_hosts(found, wanted)),
        (survey.CONTAINERD_HOSTS, found.file(survey.CONTAINERD_HOSTS).text),
    ):
        file = found.file(path)
        if base is None and not clients.is_made(file.text):
            continue
        new = base
        if base is not None and wanted.mirror is not None:
            new = clients.with_host(base, path, mirror=wanted.mirror, ours=wanted.ours)
        elif base is not None:
            new = clients.without_hosts(base, path, ours=wanted.ours)
        if new != file.text:
            asks = new is not None and wanted.mirror is not None
            said = f"asks {wanted.mirror} first" if asks else "does not name the cache"
            yield FileChange(file=File(path=file.path, text=new), sentence=f"{path} {said}")


def _docker_hosts(found: Found, wanted: Wanted) -> str | None:
    """Return the ``hosts.toml`` of dockerd that is to be changed, ``None`` when none is to be.

    dockerd asks its own mirrors all the same, unless it keeps images in containerd and the file
    lists a host. One for all registries must not name the cache, which serves one of them: that
    registry then gets a file of its own.
    """
    text = found.file(survey.DOCKER_HOSTS).text
    if wanted.mirror is None:
        return None if clients.is_made(text) else text
    path = survey.DOCKER_HOSTS
    # A folder without the file hides the one for all registries.
    if clients.is_made(text) or (text is None and survey.HUB_FOLDER not in found.tools):
        general = found.file(survey.DEFAULT_HOSTS).text
        path = survey.DEFAULT_HOSTS
        text = None if general is None else clients.made_hosts(general)
    honoured = found.daemon is not None and found.daemon.snapshotter
    return text if text is not None and honoured and clients.hosts(text, path) else None


def _buildkit_changes(found: Found, wanted: Wanted) -> Iterator[FileChange]:
    # A builder is a container of its own, which does not know the VM's host names.
    inside = found.address or wanted.host
    for path, tool, host, who in (
        (found.buildx, "buildx", inside, "new builders of buildx"),
        (survey.BUILDKITD, "buildkitd", wanted.host, "buildkitd, from its next start on,"),
    ):
        file = found.file(path)
        text = file.text or ""
        if tool not in found.tools and clients.BEGIN not in text:
            continue
        new = clients.without_buildkit_mirror(text, path, ours=wanted.ours)
        said = "do without the cache" if tool == "buildx" else "does without the cache"
        if wanted.mirror is not None and tool in found.tools:
            new = clients.with_buildkit_mirror(
                text,
                path,
                address=f"{host}:{wanted.port}",
                plain=wanted.scheme == "http",
                ours=wanted.ours,
            )
            said = f"{'pull' if tool == 'buildx' else 'pulls'} through {host}:{wanted.port}"
        if new != text:
            yield FileChange(
                file=File(path=file.path, text=new or None), sentence=f"{who} {said} ({path})"
            )


def _podman_changes(found: Found, wanted: Wanted) -> Iterator[FileChange]:
    file = found.file(survey.PODMAN_OURS)
    if wanted.mirror is None or not found.tools & {"podman", "buildah", "skopeo"}:
        if file.text is not None:
            yield FileChange(
                file=File(path=file.path, text=None), sentence="podman does without the cache"
            )
        return
    others = {
        path: one.text or ""
        for path, one in sorted(found.files.items(), key=lambda item: item[0])
        if path == survey.PODMAN_MAIN or path.startswith(f"{survey.PODMAN_FOLDER}/")
    }
    others.pop(survey.PODMAN_OURS, None)
    new = clients.podman(others, mirror=wanted.mirror)
    if new != file.text:
        yield FileChange(
            file=File(path=file.path, text=new),
            sentence=f"podman pulls through {wanted.mirror} ({survey.PODMAN_OURS})",
        )


def _is_proxied(daemon: Daemon, wanted: Wanted) -> bool:
    """Return whether dockerd asks a proxy for the mirror, and can be told not to."""
    proxied = bool(daemon.proxies.get(wanted.scheme)) and daemon.major >= PROXIES_KEY
    return proxied and not goes_around(daemon.no_proxy, wanted.host, wanted.port)


def _without_proxy(
    settings: Mapping[str, object], daemon: Daemon, wanted: Wanted
) -> dict[str, object]:
    """Return the settings with the mirror's host among what is asked directly."""
    proxies = settings.get("proxies", {})
    if not isinstance(proxies, dict):
        return dict(settings)  # dockerd itself says so, and better
    listed = proxies.get("no-proxy") or daemon.no_proxy
    if not goes_around(listed, wanted.host, wanted.port):
        listed = f"{listed},{wanted.host}".lstrip(",")
    return {**settings, "proxies": {**proxies, "no-proxy": listed}}


def _apply(vm: Connection, daemon: Daemon, change: DaemonChange, wanted: Wanted) -> tuple[str, ...]:
    """Let dockerd take its change; return what is said of it."""
    said = "dockerd does without the cache"
    if wanted.mirror is not None:
        said = f"dockerd pulls through {wanted.mirror}"
    if not change.why_restart:
        dockerd.bring(vm, change.settings, old=change.old)
        return (said,)
    if daemon.swarm and daemon.running and not daemon.live_restore:
        dockerd.bring(vm, change.settings, old=change.old)
        replace(vm, File(path=survey.MARKER, text=None))
        return (
            said,
            f"dockerd still needs a restart, and a swarm forbids it: {change.why_restart}",
        )
    restarting.restart(vm, change.settings, old=change.old, daemon=daemon)
    return (said, f"dockerd was restarted, and its containers were not: {change.why_restart}")
