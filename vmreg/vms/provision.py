"""Gives a VM's dockerd its registry mirror and takes it away again, whatever the provider.

All that is needed of a VM is a :class:`~vmreg.vms.provider.Connection`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vmreg import waiting
from vmreg.errors import UsageError, VmregError
from vmreg.vms.addresses import host_of
from vmreg.vms.files import File, replace
from vmreg.vms.provider import DAEMON_JSON

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from vmreg.vms.provider import Connection

MIRRORS = "registry-mirrors"
INSECURE = "insecure-registries"
PID_FILE = "/var/run/docker.pid"
RELOAD_TIMEOUT_S = 10
# Before these releases BuildKit keeps for ever the mirrors that it had when dockerd started, and
# speaks https to them all the same: see with_plain.
LIVE_BUILDKIT = 25
PLAIN_BUILDKIT = 28

# Away from the ranges that engines choose by themselves: a VM's own bridge must never cover the
# network that the VM itself, or the host, is on.
POOL = {"base": "10.213.0.0/16", "size": 24}

# A socket that exists is answered as soon as dockerd is up, so that this rarely loops.
_WAIT = """
until [ -S /var/run/docker.sock ] && docker version > /dev/null 2>&1; do sleep 0.1; done
"""

# Releases before 23 cannot judge a file, and their reload shows what is wrong with it instead.
_VALIDATE = """
said=$(dockerd --validate --config-file "$1" 2>&1) && exit
case $said in *"unknown flag"*) exit 0 ;; esac
printf '%s\\n' "$said" >&2
exit 1
"""


def initial_settings(
    *, mirror: str | None = None, more: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return the ``daemon.json`` of a VM that has not started yet.

    :param more: further keys; they win over the ones that are set here.
    :raises UsageError: the mirror is not an http or https address.

    >>> initial_settings(mirror="http://host.docker.internal:5000")["registry-mirrors"]
    ['http://host.docker.internal:5000']
    """
    settings = {"default-address-pools": [POOL], **(more or {})}
    return with_mirror(settings, mirror) if mirror else settings


def with_mirror(settings: Mapping[str, object], mirror: str) -> dict[str, object]:
    """Return the settings with ``mirror`` as the first mirror and every other key kept.

    Another mirror on the same host is replaced: that is this one before its port changed.

    :raises UsageError: the mirror is not an http or https address.
    :raises VmregError: what is there is not a list of addresses.

    >>> with_mirror({"debug": True, "registry-mirrors": ["http://h:1", "http://other"]}, "http://h:2")
    {'debug': True, 'registry-mirrors': ['http://h:2', 'http://other']}
    """
    first = checked(mirror)
    host = host_of(first)
    others = [one for one in _addresses(settings, MIRRORS) if host_of(one) != host]
    return {**settings, MIRRORS: [first, *others]}


def checked(mirror: str) -> str:
    """Return the address of a mirror without a slash at its end.

    :raises UsageError: it is not an http or https address.
    """
    if not _is_mirror(mirror):
        raise UsageError(
            brief=f"{mirror} is not the address of a mirror",
            resolution="Give it as http://HOST:PORT without a path; dockerd allows none.",
        )
    return mirror.rstrip("/")


def _is_mirror(mirror: str) -> bool:
    try:
        address = urlsplit(mirror)
        valid = bool(address.hostname) and address.port != 0
    except ValueError:
        return False
    return valid and address.scheme in {"http", "https"} and not address.path.strip("/")


def without_hosts(settings: Mapping[str, object], hosts: Collection[str]) -> dict[str, object]:
    """Return the settings without any mirror on these hosts and every other key kept.

    >>> without_hosts({"registry-mirrors": ["http://h:1", "http://i:1"]}, {"h"})
    {'registry-mirrors': ['http://i:1']}
    """
    listed = _addresses(settings, MIRRORS)
    others = [one for one in listed if host_of(one) not in hosts]
    if len(others) == len(listed):
        return dict(settings)
    rest = {key: value for key, value in settings.items() if key != MIRRORS}
    return {**rest, MIRRORS: others} if others else rest


def with_plain(settings: Mapping[str, object], mirror: str) -> dict[str, object]:
    """Return the settings that let the BuildKit of an old dockerd speak http to a mirror.

    Before 28 it speaks https to every mirror and goes around the mirror when that fails, unless
    the address is listed as insecure; 20.10 wants it with its scheme. dockerd itself, and later
    releases, go by the mirror's own scheme.

    >>> with_plain({}, "http://h:1"), with_plain({}, "https://h")
    ({'insecure-registries': ['http://h:1']}, {})
    """
    if not mirror.startswith("http://"):
        return dict(settings)
    return {**settings, INSECURE: [*_addresses(settings, INSECURE), mirror.rstrip("/")]}


def without_plain(settings: Mapping[str, object], hosts: Collection[str]) -> dict[str, object]:
    """Undo :func:`with_plain` for every address on these hosts; every other key is kept.

    >>> without_plain({"insecure-registries": ["http://h:1", "h:1"]}, {"h"})
    {'insecure-registries': ['h:1']}
    """
    listed = _addresses(settings, INSECURE)
    others = [one for one in listed if "://" not in one or host_of(one) not in hosts]
    if len(others) == len(listed):
        return dict(settings)
    rest = {key: value for key, value in settings.items() if key != INSECURE}
    return {**rest, INSECURE: others} if others else rest


def mirrors(settings: Mapping[str, object]) -> tuple[str, ...]:
    """Return the mirrors that dockerd takes from the settings, in order of preference.

    :raises VmregError: the key is there and is not a list of strings.

    >>> mirrors({"registry-mirrors": ["http://h:1", "http://h:1/", "http://i"]})
    ('http://h:1', 'http://i')
    """
    each: dict[str, str] = {}
    for one in _addresses(settings, MIRRORS):
        each.setdefault(one.rstrip("/"), one)
    return tuple(each.values())


def _addresses(settings: Mapping[str, object], key: str) -> tuple[str, ...]:
    listed = settings.get(key, [])
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise VmregError(
            brief=f"{key} in {DAEMON_JSON} is not a list of addresses",
            details=json.dumps(listed),
            resolution=f"Correct {DAEMON_JSON} in the VM and run the command again.",
        )
    return tuple(listed)


def parse_settings(text: str, path: str = DAEMON_JSON) -> dict[str, object]:
    """Return the keys of a ``daemon.json``; an empty file has none, as for dockerd itself.

    :param path: names the file in the error.
    :raises VmregError: it is not a JSON object; the details say where.
    """
    if not text.strip():
        return {}
    try:
        parsed = json.loads(text, parse_constant=_refuse)
        if isinstance(parsed, dict):
            text_of(parsed)  # a number that is too large, say, could not be written back
    except (ValueError, RecursionError) as error:
        raise VmregError(
            brief=f"{path} in the VM is not valid JSON",
            details=str(error),
            resolution="Correct or remove it; nothing was changed.",
        ) from error
    if not isinstance(parsed, dict):
        raise VmregError(
            brief=f"{path} in the VM is not a JSON object",
            details=text.strip()[:200],
            resolution="Correct or remove it; nothing was changed.",
        )
    return parsed


def _refuse(constant: str) -> object:
    message = f"{constant} is not a number"
    raise ValueError(message)


def wait_for_dockerd(vm: Connection, *, timeout_s: float) -> None:
    """Return as soon as the VM's dockerd answers.

    :raises VmregError: it does not in time, or the VM stopped; with its last log lines.
    """
    done = vm.exec(["timeout", f"{timeout_s:.1f}", "sh", "-c", _WAIT])
    if done.exit_code:
        raise VmregError(
            brief=f"the VM's dockerd did not answer within {timeout_s:g} s",
            details=vm.daemon_log(),
            resolution="Give the VM more time or memory, or look at its whole log.",
        )


def active_mirrors(vm: Connection) -> tuple[str, ...]:
    """Return the mirrors that the running dockerd uses, without a slash at the end.

    :raises VmregError: it does not answer.
    """
    done = vm.exec(["docker", "info", "--format", "{{json .RegistryConfig.Mirrors}}"])
    if done.exit_code:
        raise VmregError(
            brief="the VM's dockerd does not answer",
            details=done.errors.strip(),
            resolution="Look at its log; starting the VM again starts it again.",
        )
    return tuple(one.rstrip("/") for one in json.loads(done.output) or [])


def bring(vm: Connection, wanted: Mapping[str, object], *, old: File) -> None:
    """Give a running dockerd new settings by a reload; no container is restarted.

    :param wanted: the whole of the new ``daemon.json``.
    :param old: what is there now.
    :raises VmregError: dockerd refused: then the old file is back and dockerd runs as before.
    """
    said = with_empty_lists(wanted)
    try:
        write_settings(vm, said, path=old.path)
        _reload(vm, mirrors(wanted))
    except BaseException:
        take_back(vm, old)
        raise
    if said != wanted:
        replace(vm, File(path=old.path, text=text_of(wanted)))


def take_back(vm: Connection, old: File) -> None:
    """Let a dockerd that was given other settings go on with its old file, as far as it can.

    :raises VmregError: the file cannot be written.
    """
    before = parse_settings(old.text or "")
    replace(vm, File(path=old.path, text=text_of(with_empty_lists(before))))
    try:
        # Whoever calls has an error of its own to tell: dockerd itself may be what is missing.
        with suppress(VmregError):
            _reload(vm, mirrors(before))
    finally:
        replace(vm, old)


def with_empty_lists(settings: Mapping[str, object]) -> dict[str, object]:
    """Return what a file must say for a reload to bring exactly these settings.

    A reload leaves alone what is not in the file; only an empty list empties the list.
    """
    return {MIRRORS: [], INSECURE: [], **settings}


def write_settings(vm: Connection, settings: Mapping[str, object], *, path: str) -> None:
    """Write a ``daemon.json`` that dockerd would take; nothing is reloaded.

    :raises VmregError: dockerd would refuse it, or it cannot be written; the old file stays then.
    """
    refusal = replace(vm, File(path=path, text=text_of(settings)), check=_VALIDATE)
    if refusal:
        raise VmregError(
            brief=f"the VM's dockerd would refuse its new {DAEMON_JSON}",
            details=refusal,
            resolution=f"Correct {DAEMON_JSON} in the VM; nothing was changed.",
        )


def reload(vm: Connection) -> None:
    """Let dockerd read its file again; it takes a moment.

    :raises VmregError: it is not running.
    """
    done = vm.exec(["sh", "-c", f'kill -HUP "$(cat {PID_FILE})"'])
    if done.exit_code:
        raise VmregError(
            brief="the VM's dockerd is not running",
            details=vm.daemon_log(),
            resolution="Look at its log; starting the VM again starts it again.",
        )


def text_of(settings: Mapping[str, object]) -> str:
    r"""Return the text of a ``daemon.json``.

    >>> text_of({})
    '{}\n'
    """
    return json.dumps(settings, indent=2, allow_nan=False) + "\n"


def _reload(vm: Connection, wanted: Sequence[str]) -> None:
    reload(vm)
    expected = tuple(one.rstrip("/") for one in wanted)
    try:
        waiting.until(
            lambda: True if active_mirrors(vm) == expected else None,
            what="the reload",
            timeout_s=RELOAD_TIMEOUT_S,
        )
    except VmregError as error:
        raise VmregError(
            brief=f"the VM's dockerd did not take its new {DAEMON_JSON}",
            details=complaints(vm) or str(error),
            resolution=f"The old file is back. Correct {DAEMON_JSON} in the VM.",
        ) from error


def complaints(vm: Connection) -> str:
    """Return the last lines that dockerd did not mean as mere information."""
    lines = vm.daemon_log(tail=500).splitlines()
    loud = [line for line in lines if "level=error" in line or "level=fatal" in line]
    return "\n".join(loud[-5:])
