"""Someone who types ``vm`` commands: a folder, a home of its own, a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import socket
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
import jsonschema

import vmreg
from vmreg.process import Completed, run

VM = str(Path(sys.executable).parent / "vm")
SCHEMAS = Path(vmreg.__file__).parent / "schema"
COLUMNS = 120
PROJECT = "docker_registry: true\nproject: {name: %s}\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, kw_only=True)
class Person:
    """Someone in a project's folder, all of whose VMs have names with one beginning."""

    folder: Path
    prefix: str
    port: int
    environment: dict[str, str] = field(repr=False)

    def vm(self, *words: str, **more: str) -> Completed:
        """Run a command with nobody at the terminal."""
        environment = {**self.environment, **more}
        argv = ["env", "-C", str(self.folder), VM, *words]
        return run(argv, check=False, environment=environment, timeout_s=120)

    def done(self, *words: str, **more: str) -> Completed:
        finished = self.vm(*words, **more)
        assert finished.exit_code == 0, finished
        return finished

    def name(self, word: str) -> str:
        return f"{self.prefix}-{word}"

    def container(self, name: str) -> str:
        """Return the id of a VM's container."""
        client = docker.from_env()
        try:
            return str(client.containers.get(f"vm-{name}").id)
        finally:
            client.close()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [VM, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def at_a_terminal(self, *words: str, answer: str) -> tuple[int, str]:
        """Run a command with a person who answers its first question; return code and screen."""
        person, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        environment = {key: one for key, one in self.environment.items() if key != "CI"}
        process = subprocess.Popen(
            [VM, *words],
            cwd=self.folder,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        screen = b""
        answered = False
        while True:
            try:
                seen = os.read(person, 4096)
            except OSError:  # the other side is closed
                break
            if not seen:
                break
            screen += seen
            if not answered and b"? [" in screen:
                os.write(person, answer.encode() + b"\n")
                answered = True
        os.close(person)
        return process.wait(), screen.decode()


def commands() -> list[str]:
    """Return the command lines of all processes of this host."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
    return found


def left_of(prefix: str) -> list[str]:
    """Return the containers of the VMs whose names begin like that."""
    client = docker.from_env()
    try:
        rows = client.api.containers(all=True)
        names = [str(row["Names"][0]).lstrip("/") for row in rows]
        return [name for name in names if name.startswith(f"vm-{prefix}")]
    finally:
        client.close()


def unused_volumes() -> set[str]:
    """Return the volumes that no container has."""
    client = docker.from_env()
    try:
        return {one.name for one in client.volumes.list(filters={"dangling": True})}
    finally:
        client.close()


def valid(name: str, text: str) -> dict[str, object]:
    document = json.loads(text)
    jsonschema.validate(document, json.loads((SCHEMAS / f"{name}.schema.json").read_text()))
    assert isinstance(document, dict)
    return document
