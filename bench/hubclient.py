"""A plain HTTP client of the hub: from the host, by address, under Docker Hub's names."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from bench.hubd.content import MEDIA_TYPES
from bench.hubd.options import AUTH_HOST, REGISTRY_HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ACCEPT = ", ".join(kinds[kind] for kinds in MEDIA_TYPES.values() for kind in ("index", "manifest"))
PORT = 443


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer with its body read to the end; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(http.client.HTTPSConnection):
    """A TLS connection to an address, under another name, that it verifies."""

    def __init__(self, host: str, *, address: str, ca_file: Path, timeout_s: float) -> None:
        """Prepare a connection; the first request opens it."""
        self._trust = ssl.create_default_context(cafile=str(ca_file))
        self._address = address
        super().__init__(host, timeout=timeout_s, context=self._trust)

    def connect(self) -> None:
        """Open the connection.

        :raises ssl.SSLCertVerificationError: the certificate is not from the hub's authority.
        """
        plain = socket.create_connection((self._address, PORT), timeout=self.timeout)
        try:
            self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """Send a request over this connection and read the whole answer."""
        self.request(method, target, headers=dict(headers or {}))
        answer = self.getresponse()
        return Response(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answer.read(),
        )


@dataclass(frozen=True, kw_only=True)
class HubClient:
    """Asks the hub, one fresh connection per call unless :meth:`connect` is used.

    :param address: the hub's IPv4 address.
    :param ca_file: the certificate authority to trust.
    :param timeout_s: seconds without a byte after which a call fails.
    """

    address: str
    ca_file: Path
    timeout_s: float

    def connect(self, host: str) -> Connection:
        """Return a connection to one of the hub's names, for the caller to close."""
        return Connection(
            host, address=self.address, ca_file=self.ca_file, timeout_s=self.timeout_s
        )

    def ask(
        self,
        host: str,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request and return the answer.

        :raises OSError: no connection, no TLS, or no byte in time.
        :raises http.client.IncompleteRead: the body ended early.
        """
        connection = self.connect(host)
        try:
            return connection.ask(method, target, headers)
        finally:
            connection.close()

    def token(self, repository: str, *, credentials: tuple[str, str] | None = None) -> str:
        """Return a bearer token for pulling from a repository, whether it grants that or not."""
        query = urlencode(
            {"service": "registry.docker.io", "scope": f"repository:{repository}:pull"}
        )
        headers = {}
        if credentials:
            pair = base64.b64encode(":".join(credentials).encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        answer = self.ask(AUTH_HOST, f"/token?{query}", headers=headers)
        return str(json.loads(answer.body).get("token", ""))

    def manifest(
        self, repository: str, reference: str, *, method: str = "GET", token: str = ""
    ) -> Response:
        """Ask for a manifest, with a token of its own unless one is given."""
        headers = {
            "Accept": ACCEPT,
            "Authorization": f"Bearer {token or self.token(repository)}",
        }
        target = f"/v2/{repository}/manifests/{reference}"
        return self.ask(REGISTRY_HOST, target, method=method, headers=headers)

    def blob_address(self, repository: str, digest: str, *, token: str = "") -> str:
        """Return the address that the registry redirects a blob's request to, empty for none."""
        headers = {"Authorization": f"Bearer {token or self.token(repository)}"}
        answer = self.ask(REGISTRY_HOST, f"/v2/{repository}/blobs/{digest}", headers=headers)
        return answer.headers.get("location", "")

    def fetch(
        self, address: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Response:
        """Ask for an ``https`` address at the hub, whatever its host name resolves to."""
        parts = urlsplit(address)
        target = f"{parts.path}?{parts.query}"
        return self.ask(parts.netloc, target, method=method, headers=headers)
