"""Real sockets: who listens, and where another one could."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from vmreg import ports

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = (
    "import socket; held = socket.create_server(('127.0.0.1', 0));"
    "print(held.getsockname()[1], flush=True); input()"
)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")


@contextmanager
def listening(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    dual = family == socket.AF_INET6 and address == "::"
    with socket.create_server((address, port), family=family, dualstack_ipv6=dual) as server:
        yield int(server.getsockname()[1])


def test_a_port_is_free_when_nothing_listens() -> None:
    with listening() as port:
        pass
    assert ports.is_free("127.0.0.1", port)
    assert ports.listeners(port) == frozenset()


def test_a_port_is_taken_on_its_address_alone() -> None:
    with listening("127.0.0.1") as port:
        assert not ports.is_free("127.0.0.1", port)
        assert ports.is_free("127.0.0.2", port)


@pytest.mark.parametrize("address", ["0.0.0.0", pytest.param("::", marks=IPV6)])  # noqa: S104 - it is what must be noticed
def test_who_listens_everywhere_takes_every_address(address: str) -> None:
    with listening(address) as port:
        assert not ports.is_free("127.0.0.1", port)
        assert ports.listeners(port) == {address}


def test_a_connection_that_was_just_closed_takes_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # who closes first keeps the connection's remains
        assert client.recv(1) == b""
        client.close()
    assert ports.is_free("127.0.0.1", port)


def test_an_address_of_another_host_is_an_error() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        ports.is_free("192.0.2.7", 5000)


def test_every_address_that_is_listened_on_is_found() -> None:
    with listening("127.0.0.1") as port, listening("127.0.0.3", port):
        assert ports.listeners(port) == {"127.0.0.1", "127.0.0.3"}


@IPV6
def test_an_ipv6_address_is_told_apart_from_the_wildcard() -> None:
    with listening("::1") as port:
        assert ports.listeners(port) == {"00000000000000000000000001000000"}


def test_a_connection_is_no_listener() -> None:
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
        own = client.getsockname()[1]
        assert ports.listeners(own) == frozenset()
        assert ports.holder(own) == "another process"


def test_the_holder_is_named_by_its_program_and_number() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            found = ports.holder(port)
        finally:
            process.communicate(b"\n")
    name, _, number = found.partition(" ")
    assert name.startswith("python")
    assert number == f"(pid {process.pid})"


def test_nobody_holds_a_free_port() -> None:
    with listening() as port:
        pass
    assert ports.holder(port) == "another process"
