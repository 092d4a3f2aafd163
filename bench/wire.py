"""HTTP as a Docker client speaks it: bearer tokens, redirects, connections kept alive."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT_S = 300.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_HOPS = 5
UNAUTHORIZED = 401
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: the peer sees a reset
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class WireError(Exception):
    """The connection broke or the server's answer makes no sense; never shown as it is."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A registry as a client is told about it.

    :param url: scheme, host and port, without a path.
    :param addresses: host name to ``(IPv4 address, port)``, used instead of the resolver.
    :param ca_file: the only authority trusted for https; the system's when empty.
    """

    url: str
    addresses: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    ca_file: Path | None = None


class Wire:
    """Connections of one thread to a registry and to whatever it redirects to.

    Not for several threads at once, but for :meth:`reset`, which any thread may call.

    :param scope: what a token is asked for, such as ``repository:library/node:pull``.
    """

    def __init__(
        self, endpoint: Endpoint, *, scope: str, token: str = "", agent: str = "vmreg-bench"
    ) -> None:
        """Prepare; nothing is sent before the first :meth:`open`."""
        self._endpoint = endpoint
        self._always = {"Accept-Encoding": "identity", "User-Agent": agent}
        self._scope = scope
        self._connections: dict[tuple[str, str], HTTPConnection] = {}
        self.token = token

    def open(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        """Send a request and return the answer, its body unread.

        A challenge is answered with a token once; redirects are followed, without the token when
        the host changes.

        :raises WireError: no answer, too many redirects, or a challenge that cannot be met.
        """
        url = urljoin(self._endpoint.url + "/", path.lstrip("/"))
        response = self._follow(method, url, headers or {})
        if response.status == UNAUTHORIZED:
            challenge = response.headers.get("WWW-Authenticate", "")
            response.read()
            self.token = self._fetch_token(challenge)
            response = self._follow(method, url, headers or {})
        return response

    def close(self) -> None:
        """Close the connections; a second call is harmless."""
        for connection in tuple(self._connections.values()):
            connection.close()
        self._connections.clear()

    def reset(self) -> None:
        """Break the connections off as a killed process would; readers fail at once."""
        for connection in tuple(self._connections.values()):
            sock = connection.sock
            if sock is None:
                continue
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed in the meantime

    def _follow(self, method: str, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        first_host = urlsplit(url).netloc
        for _ in range(MAX_HOPS):
            sent = dict(headers)
            if self.token and urlsplit(url).netloc == first_host:
                sent["Authorization"] = f"Bearer {self.token}"
            response = self._request(method, url, sent)
            target = response.headers.get("Location", "")
            if response.status not in REDIRECTS or not target:
                return response
            response.read()
            url = urljoin(url, target)
        raise WireError(f"more than {MAX_HOPS} redirects, the last one to {url}")

    def _request(self, method: str, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        parts = urlsplit(url)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        fresh = (parts.scheme, parts.netloc) not in self._connections
        try:
            return self._send(method, parts.scheme, parts.netloc, path, headers)
        except (HTTPException, OSError) as error:
            if fresh:
                raise WireError(f"{method} {url}: {error or type(error).__name__}") from error
        # The server closed an idle connection in the meantime: one new connection is fair.
        try:
            return self._send(method, parts.scheme, parts.netloc, path, headers)
        except (HTTPException, OSError) as error:
            raise WireError(f"{method} {url}: {error or type(error).__name__}") from error

    def _send(
        self, method: str, scheme: str, host: str, path: str, headers: Mapping[str, str]
    ) -> HTTPResponse:
        connection = self._connections.get((scheme, host))
        if connection is None:
            connection = self._connect(scheme, host)
            self._connections[scheme, host] = connection
        try:
            connection.request(method, path, headers={**self._always, **headers})
            return connection.getresponse()
        except (HTTPException, OSError):
            self._connections.pop((scheme, host)).close()
            raise

    def _connect(self, scheme: str, host: str) -> HTTPConnection:
        name, _, port = host.partition(":")
        number = int(port or (443 if scheme == "https" else 80))
        raw = socket.create_connection(
            self._endpoint.addresses.get(name, (name, number)), timeout=TIMEOUT_S
        )
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme != "https":
            plain = HTTPConnection(host, timeout=TIMEOUT_S)
            plain.sock = raw
            return plain
        context = _context(str(self._endpoint.ca_file or ""))
        secure = HTTPSConnection(host, timeout=TIMEOUT_S, context=context)
        secure.sock = context.wrap_socket(raw, server_hostname=name)
        return secure

    def _fetch_token(self, challenge: str) -> str:
        given = dict(CHALLENGE.findall(challenge))
        if "realm" not in given:
            raise WireError(f"the registry wants something else than a token: {challenge!r}")
        query = {"service": given.get("service", ""), "scope": given.get("scope", self._scope)}
        response = self._request("GET", f"{given['realm']}?{urlencode(query)}", {})
        body = response.read()
        try:
            answer = json.loads(body)
            return str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, AttributeError) as error:
            raise WireError(f"no token from {given['realm']}: {response.status}") from error


@cache
def _context(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file or None)
