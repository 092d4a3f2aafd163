"""Restarts a VM's dockerd without stopping a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmreg import waiting
from vmreg.errors import VmregError
from vmreg.vms import provision
from vmreg.vms.files import File, replace
from vmreg.vms.survey import MARKER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmreg.vms.provider import Connection
    from vmreg.vms.survey import Daemon

LIVE_RESTORE = "live-restore"
TIMEOUT_S = 60
# Before this release dockerd cannot say what it would refuse.
VALIDATES = 23
# A mirror that no VM has: it is active only when the file that names it was taken.
PROOF_HOST = "proof.vmreg.invalid"
PROOF = f"http://{PROOF_HOST}"

# Whoever watches over dockerd starts it again: its own init, or what started the VM.
_RESTART = f"""
old=$(cat {provision.PID_FILE} 2> /dev/null || echo none)
if [ -d /run/systemd/system ]; then systemctl restart docker
else kill -TERM "$old" 2> /dev/null || :
fi
until new=$(cat {provision.PID_FILE} 2> /dev/null) && [ "$new" != "$old" ] &&
    docker version > /dev/null 2>&1
do sleep 0.1; done
"""


def undone(settings: Mapping[str, object], marker: str | None) -> dict[str, object]:
    """Return the settings without what a restart that was cut short has left in them.

    :param marker: the text of :data:`vmreg.vms.survey.MARKER`, ``None`` when it is not there.
    :raises VmregError: the marker, or the list of mirrors, is not valid.

    >>> undone({"registry-mirrors": ["http://proof.vmreg.invalid"], "live-restore": True}, "{}")
    {}
    """
    clean = provision.without_hosts(settings, {PROOF_HOST})
    if marker is None:
        return clean
    clean.pop(LIVE_RESTORE, None)
    before = provision.parse_settings(marker, MARKER)
    return {**clean, **{key: before[key] for key in (LIVE_RESTORE,) if key in before}}


def lent_by(settings: Mapping[str, object], daemon: Daemon) -> dict[str, object]:
    """Return the keys that dockerd needs for a restart to leave its containers alone.

    What the running dockerd does says nothing of the next one, which starts from its file; only an
    argument, which the file must not repeat, is there again.
    """
    stays = daemon.live_restore and (daemon.flagged or settings.get(LIVE_RESTORE) is True)
    return {LIVE_RESTORE: True} if daemon.running and not stays else {}


def restart(vm: Connection, settings: Mapping[str, object], *, old: File, daemon: Daemon) -> None:
    """Let dockerd start with new settings; its containers keep running meanwhile.

    Where its settings would stop them with it, they are changed for the time of the restart. A
    marker beside the file says so: when all of it is cut short, the next provision finds it.

    :param settings: the whole of the new ``daemon.json``.
    :param old: what is there now.
    :raises VmregError: dockerd refused: then the old file is back and dockerd runs as before.
    """
    before = provision.parse_settings(old.text or "")
    lent = lent_by(settings, daemon)
    final = old
    try:
        replace(vm, File(path=MARKER, text=provision.text_of(before)))
        if daemon.major < VALIDATES:
            # One that refuses its file at its start is gone; one that refuses a reload is not.
            listed = [*provision.mirrors(settings), PROOF]
            provision.bring(vm, {**settings, provision.MIRRORS: listed}, old=old)
        if lent:
            _set_live_restore(vm, before, old.path, on=True)
        _start_with(vm, {**settings, **lent}, otherwise={**before, **lent}, path=old.path)
        final = File(path=old.path, text=provision.text_of(settings))
    finally:
        now = provision.parse_settings(final.text or "")
        if lent:
            _set_live_restore(vm, now, old.path, on=now.get(LIVE_RESTORE) is True)
        elif final is old:
            provision.take_back(vm, old)
        replace(vm, final, File(path=MARKER, text=None))


def _start_with(
    vm: Connection,
    settings: Mapping[str, object],
    *,
    otherwise: Mapping[str, object],
    path: str,
) -> None:
    """Restart dockerd with new settings, and with the other ones when it does not come back."""
    provision.write_settings(vm, settings, path=path)
    try:
        _restart(vm)
    except BaseException:
        replace(vm, File(path=path, text=provision.text_of(otherwise)))
        _restart(vm)
        raise


def _restart(vm: Connection) -> None:
    done = vm.exec(["timeout", str(TIMEOUT_S), "sh", "-c", _RESTART])
    if done.exit_code:
        raise VmregError(
            brief=f"the VM's dockerd did not come back within {TIMEOUT_S} s",
            details=provision.complaints(vm) or vm.daemon_log(),
            resolution="The old settings are back. Restart dockerd in the VM.",
        )


def _set_live_restore(
    vm: Connection, settings: Mapping[str, object], path: str, *, on: bool
) -> None:
    """Turn it on or off in the running dockerd, and leave the file saying so.

    A reload leaves alone what is not in the file, so that turning off must be said too.
    """
    said = provision.with_empty_lists({**settings, LIVE_RESTORE: on})
    replace(vm, File(path=path, text=provision.text_of(said)))
    provision.reload(vm)
    argv = ["docker", "info", "--format", "{{.LiveRestoreEnabled}}"]
    try:
        waiting.until(
            lambda: True if vm.exec(argv).output.strip() == str(on).lower() else None,
            what=f"turning {LIVE_RESTORE} {'on' if on else 'off'} in the VM's dockerd",
            timeout_s=provision.RELOAD_TIMEOUT_S,
        )
    except VmregError as error:
        raise VmregError(
            brief=str(error),
            details=provision.complaints(vm),
            resolution=f"Correct {path} in the VM and run the command again.",
        ) from error
