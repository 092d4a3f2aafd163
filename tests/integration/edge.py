"""A small client of the cache: pulls an image as dockerd would, and checks every digest."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.store import MANIFEST_TYPES, digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCEPT = ", ".join(MANIFEST_TYPES)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The cache as its clients see it."""

    port: int
    address: str = "127.0.0.1"

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30,
    ) -> Answer:
        began = time.monotonic()
        connection = http.client.HTTPConnection(self.address, self.port, timeout=timeout_s)
        try:
            connection.request(method, path, headers={"Accept": ACCEPT, **(headers or {})})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        return Answer(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=body,
            seconds=time.monotonic() - began,
        )

    def manifest(self, repository: str, reference: str, *, method: str = "GET") -> Answer:
        return self.ask(f"/v2/{repository}/manifests/{reference}", method=method)

    def blob(self, repository: str, digest: str, *, method: str = "GET") -> Answer:
        return self.ask(f"/v2/{repository}/blobs/{digest}", method=method)

    def pull(self, image: str) -> tuple[str, ...]:
        """Pull an image for amd64 and return its blobs' digests, each of them verified."""
        repository, tag = image.split(":")
        index = self.expect(self.manifest(repository, tag))
        chosen = next(
            entry["digest"]
            for entry in json.loads(index.body)["manifests"]
            if entry["platform"]["architecture"] == "amd64"
        )
        manifest = self.expect(self.manifest(repository, chosen))
        assert digest_of(manifest.body) == chosen
        content = json.loads(manifest.body)
        digests = [entry["digest"] for entry in (content["config"], *content["layers"])]
        for digest in digests:
            assert digest_of(self.expect(self.blob(repository, digest)).body) == digest
        return tuple(digests)

    @staticmethod
    def expect(answer: Answer) -> Answer:
        assert answer.status == http.HTTPStatus.OK, answer
        return answer
