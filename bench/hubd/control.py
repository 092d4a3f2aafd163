"""The hub's levers: a socket in the container that takes one JSON line and gives one back.

Run as a program it is the other end: ``python3 -m bench.hubd.control '{"fault": "stall"}'``.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET = "/run/hub/control.sock"


class Control(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Applies commands with ``apply`` and answers ``{}``, or ``{"error": …}`` when it raised."""

    daemon_threads = True

    def __init__(self, apply: Callable[[dict[str, Any]], None]) -> None:
        """Listen at once; :meth:`serve_forever` answers."""
        self.apply = apply
        super().__init__(SOCKET, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    server: Control

    def handle(self) -> None:
        try:
            self.server.apply(json.loads(self.rfile.readline()))
        except Exception as error:  # noqa: BLE001 - whatever it was belongs to who asked
            self.wfile.write(json.dumps({"error": f"{error}"}).encode())
        else:
            self.wfile.write(b"{}")


def send(command: str) -> str:
    """Send one command, and return the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(SOCKET)
        connection.sendall(command.encode() + b"\n")
        with connection.makefile() as answer:
            return answer.read()


if __name__ == "__main__":
    sys.stdout.write(send(sys.argv[1]))
