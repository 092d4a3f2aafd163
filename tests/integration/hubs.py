"""What the tests of the embedded hub share."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from vmreg import waiting

if TYPE_CHECKING:
    from bench.hub import Hub
    from bench.hubclient import Response
    from bench.hublog import Mark

NODE = "library/node"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def largest_address(hub: Hub) -> tuple[str, int]:
    """Return a signed address of node's largest layer, and the layer's size."""
    layer = max(hub.images[f"{NODE}:20"].blobs, key=lambda blob: blob.size)
    return hub.client().blob_address(NODE, layer.digest), layer.size


def error_code(response: Response) -> str:
    return str(json.loads(response.body)["errors"][0]["code"])


def logged(hub: Hub, since: Mark, count: int) -> None:
    """Wait until the log holds ``count`` requests after a mark: it comes a moment later."""
    waiting.until(
        lambda: True if sum(1 for _ in hub.requests(since)) >= count else None,
        what=f"the log of {count} requests",
        timeout_s=5,
    )
