"""Who listens on a TCP port of this host."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

LISTEN = "0A"


def is_free(address: str, port: int) -> bool:
    """Return whether a server could listen on an IPv4 address and port now.

    :raises OSError: the address is not one of this host's.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EACCES:  # a low port, which is the engine's to open
                return not listeners(port) & {address, "0.0.0.0", "::"}  # noqa: S104 - compared
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def holder(port: int) -> str:
    """Return who listens on a TCP port: ``name (pid N)``, or ``another process`` if unreadable."""
    sockets = {f"socket:[{inode}]" for _, inode in _listening(port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(_target(handle) in sockets for handle in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:  # gone meanwhile, or another user's
            continue
    return "another process"


def listeners(port: int) -> frozenset[str]:
    """Return the local addresses that something listens on at ``port``, as the kernel has them.

    IPv4 in dotted form; the IPv6 wildcard is ``::`` and other IPv6 addresses are hexadecimal.
    """
    return frozenset(_address(local) for local, _ in _listening(port))


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except OSError:  # closed meanwhile
        return ""


def _listening(port: int) -> list[tuple[str, str]]:
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except FileNotFoundError:  # IPv6 is off
            continue
        for row in rows:
            fields = row.split()
            local, number = fields[1].split(":")
            if fields[3] == LISTEN and int(number, 16) == port:
                found.append((local, fields[9]))
    return found


def _address(local: str) -> str:
    raw = bytes.fromhex(local)
    if len(raw) == 4:  # noqa: PLR2004 - an IPv4 address
        return socket.inet_ntop(socket.AF_INET, raw[::-1])
    return "::" if not any(raw) else local
