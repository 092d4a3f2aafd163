"""Restarts a VM's dockerd without stopping a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmreg import waiting
from vmreg.errors import VmregError
from vmreg.vms import provision
from vmreg.vms.files import File, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmreg.vms.provider import Connection
    from vmreg.vms.survey import Daemon

LIVE_RESTORE = "live-restore"
TIMEOUT_S = 60
# Before this release dockerd cannot say what it would refuse.
VALIDATES = 23
# A mirror that no VM has: it is active only when the file that names it was taken.
PROOF = "http://proof.vmreg.invalid"

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


def restart(vm: Connection, settings: Mapping[str, object], *, old: File, daemon: Daemon) -> None:
    """Let dockerd start with new settings; its containers keep running meanwhile.

    Where its settings would stop them with it, they are changed for the time of the restart.

    :param settings: the whole of the new ``daemon.json``.
    :param old: what is there now.
    :raises VmregError: dockerd refused: then the old file is back and dockerd runs as before.
    """
    before = provision.parse_settings(old.text or "")
    if daemon.major < VALIDATES:
        # A dockerd that refuses its file at its start is gone; one that refuses a reload is not.
        listed = [*provision.mirrors(settings), PROOF]
        provision.bring(vm, {**settings, provision.MIRRORS: listed}, old=old)
    lent = {LIVE_RESTORE: True} if daemon.running and not daemon.live_restore else {}
    if lent:
        _set_live_restore(vm, before, old.path, on=True)
    final = old
    try:
        provision.write_settings(vm, {**settings, **lent}, path=old.path)
        _restart(vm)
        final = File(path=old.path, text=provision.text_of(settings))
    except BaseException:
        replace(vm, File(path=old.path, text=provision.text_of({**before, **lent})))
        _restart(vm)
        raise
    finally:
        if lent:
            now = provision.parse_settings(final.text or "")
            _set_live_restore(vm, now, old.path, on=False)
        replace(vm, final)


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
    provision.write_settings(vm, {**settings, LIVE_RESTORE: on}, path=path)
    provision.reload(vm)
    argv = ["docker", "info", "--format", "{{.LiveRestoreEnabled}}"]
    waiting.until(
        lambda: True if vm.exec(argv).output.strip() == str(on).lower() else None,
        what=f"turning {LIVE_RESTORE} {'on' if on else 'off'} in the VM's dockerd",
        timeout_s=provision.RELOAD_TIMEOUT_S,
        evidence=lambda: provision.complaints(vm),
    )
