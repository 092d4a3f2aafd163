"""The hub's first process: prepares certificates and content, starts the parts, watches them."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.hubd import content, network, tls
from bench.hubd.control import Control
from bench.hubd.decisions import Decider
from bench.hubd.options import AUTHORITY, CACHE, OPTIONS_FILE, STATE, Fault, Options
from bench.hubd.service import Faults, Service
from bench.hubd.store import Place, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

CODE = Path(__file__).parent
BUSYBOX = Path("/bin/busybox")
WATCH_S = 0.2


def main() -> int:
    """Run the hub until a signal or the end of one of its parts; return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    tls.FOLDER.mkdir(parents=True, exist_ok=True)
    options = Options.read(Path(STATE) / OPTIONS_FILE)
    tls.prepare(Path(AUTHORITY))
    folder = content.ensure(
        Path(CACHE),
        seed=options.seed,
        scale=options.scale,
        busybox=BUSYBOX.read_bytes(),
        progress=_say,
    )
    Path("/run/hub/content").symlink_to(folder)
    shutil.copy(folder / content.CATALOGUE, Path(STATE) / content.CATALOGUE)
    hub = Machine(options, folder)
    network.cap(options.bandwidth_bytes_s)
    for server in (hub.service, Control(hub.apply)):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    parts = {
        "docker-registry": _spawn("docker-registry", "serve", str(CODE / "registry.yml")),
        "nginx": hub.start_nginx(),
    }
    _give_away(options.owner)
    _say("serving")
    return _watch(parts)


class Machine:
    """The running hub, and what can be done to it."""

    def __init__(self, options: Options, folder: Path) -> None:
        """Prepare to serve the content in ``folder``."""
        self._faults = Faults()
        self._store = Store(folder)
        self._lock = threading.Lock()
        self._nginx = 0
        self.service = Service(Decider(options, self._store, self._faults.current), self._faults)

    def start_nginx(self) -> int:
        """Start nginx and return its process id."""
        self._nginx = _spawn("nginx", "-c", str(CODE / "nginx.conf"))
        return self._nginx

    def apply(self, command: dict[str, Any]) -> None:
        """Carry out a command: any of ``fault``, ``bandwidth_bytes_s`` and ``move``."""
        with self._lock:
            if "fault" in command:
                self._inject(Fault(command["fault"]))
            if "bandwidth_bytes_s" in command:
                network.cap(int(command["bandwidth_bytes_s"]))
            if "move" in command:
                source, target = (_place(text) for text in command["move"])
                self._store.move(source, target)

    def _inject(self, fault: Fault) -> None:
        previous = self._faults.current()
        self._faults.set(fault)
        network.firewall(fault)
        if Fault.SELF_SIGNED in {fault, previous} and fault is not previous:
            tls.serve(trusted=fault is not Fault.SELF_SIGNED)
            # Open connections would go on with the certificate they began with: close them.
            os.kill(self._nginx, signal.SIGHUP)


def _place(reference: str) -> Place:
    repository, _, tag = reference.rpartition(":")
    return Place(repository=repository, reference=tag)


def _spawn(program: str, *arguments: str) -> int:
    path = shutil.which(program)
    if path is None:
        raise FileNotFoundError(program)
    return os.posix_spawn(path, [program, *arguments], os.environ)


def _watch(parts: dict[str, int]) -> int:
    """Wait until a part ends, and say which; a signal ends the wait as SystemExit."""
    try:
        while True:
            for name, process in parts.items():
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    _say(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
                    return 1
            time.sleep(WATCH_S)
    finally:
        for process in parts.values():
            _terminate(process)


def _terminate(process: int) -> None:
    try:
        os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        return


def _give_away(owner: Sequence[int]) -> None:
    """Hand the files on the host to whoever started the hub, so that they can remove them."""
    user, group = owner
    for root in (STATE, AUTHORITY, CACHE):
        for folder, _, files in os.walk(root):
            for name in ("", *files):
                os.chown(Path(folder, name), user, group, follow_symlinks=False)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
