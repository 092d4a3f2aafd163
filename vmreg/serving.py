"""Where the cache serves, and proof from outside that it does: a manifest and a blob of its own."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

from vmreg import store

if TYPE_CHECKING:
    from collections.abc import Mapping


HOST_NAME = "host.docker.internal"


def mirror(port: int) -> str:
    """Return where VMs find the cache: what they put into their ``registry-mirrors``.

    >>> mirror(5000)
    'http://host.docker.internal:5000'
    """
    return f"http://{HOST_NAME}:{port}"


def fault(address: str, port: int, *, timeout_s: float = 3) -> str:
    """Fetch the probe image through the edge and return what is wrong, empty when nothing is.

    The manifest comes through storage, the layer from the edge's disk; both are digest-checked.

    :param timeout_s: seconds of silence that end either of the two requests.
    """
    image = store.probe()
    for kind, digest in (("manifests", image.manifest_digest), ("blobs", image.layer_digest)):
        path = f"/v2/{store.PROBE_REPOSITORY}/{kind}/{digest}"
        try:
            status, body = get(address, port, path, timeout_s=timeout_s)
        except (OSError, http.client.HTTPException) as error:
            return f"{address}:{port} does not answer: {error}"
        if status != http.HTTPStatus.OK:
            return (
                f"{address}:{port}{path} answered {status}: {body[:200].decode(errors='replace')}"
            )
        if store.digest_of(body) != digest:
            return f"{address}:{port}{path} answered with other bytes than its digest says"
    return ""


def get(
    address: str,
    port: int,
    path: str,
    *,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Return the status and the whole body of one plain HTTP request.

    :raises OSError: no connection, or no answer in time.
    :raises http.client.HTTPException: what answers does not speak HTTP.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Accept": store.MANIFEST_TYPE, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
