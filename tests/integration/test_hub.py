"""The embedded hub as its clients see it: real containers, real TLS."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bench.hub import RECIPE, ROLE_LABEL, Fault, Hub, HubImage
from bench.hubd.options import AUTH_HOST, CDN_HOST, REGISTRY_HOST
from tests.integration.hubs import NODE, error_code, largest_address, logged, sha256
from vmreg.engine import ContainerSpec, Engine, Mount
from vmreg.errors import VmregError

if TYPE_CHECKING:
    from pathlib import Path


# A process id that no Linux system hands out.
DEAD = str(2**22 + 1)


@pytest.fixture
def hub(hub_alone: Hub) -> Hub:
    return hub_alone


class TestTokens:
    def test_a_request_without_a_token_is_sent_to_the_token_endpoint(self, hub: Hub) -> None:
        answer = hub.client().ask(REGISTRY_HOST, "/v2/")
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
        )

    def test_the_token_endpoint_answers_as_docker_hubs_does(self, hub: Hub) -> None:
        answer = hub.client().ask(AUTH_HOST, "/token?scope=repository:library/node:pull")
        told = json.loads(answer.body)
        assert told["token"] == told["access_token"]
        assert told["expires_in"] == 300
        issued = time.strptime(told["issued_at"], "%Y-%m-%dT%H:%M:%SZ")
        assert abs(time.mktime(issued) - time.mktime(time.gmtime())) < 60

    def test_a_token_opens_the_registry(self, hub: Hub) -> None:
        headers = {"Authorization": f"Bearer {hub.client().token(NODE)}"}
        assert hub.client().ask(REGISTRY_HOST, "/v2/", headers=headers).status == 200

    def test_a_token_for_another_repository_does_not_do(self, hub: Hub) -> None:
        answer = hub.client().manifest(NODE, "20", token=hub.client().token("library/ruby"))
        assert answer.status == 401
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert 'scope="repository:library/node:pull"' in answer.headers["www-authenticate"]

    def test_a_forged_token_does_not_do(self, hub: Hub) -> None:
        token = hub.client().token(NODE)
        answer = hub.client().manifest(NODE, "20", token=token[:-2] + "xx")
        assert answer.status == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]

    def test_the_private_repository_needs_the_account(self, hub: Hub) -> None:
        client = hub.client()
        assert client.manifest("acme/private", "latest").status == 401
        token = client.token("acme/private", credentials=("ann", "secret"))
        answer = client.manifest("acme/private", "latest", token=token)
        assert answer.status == 200
        assert answer.headers["docker-ratelimit-source"] == "ann"

    def test_a_wrong_password_gets_no_token(self, hub: Hub) -> None:
        assert hub.client().token("acme/private", credentials=("ann", "guess")) == ""


def test_the_quota_counts_gets_and_not_heads(
    hub_engine: Engine, hub_cache: Path, tmp_path: Path
) -> None:
    name = f"test-hub-quota-{os.getpid()}"
    with Hub.start(
        hub_engine, name=name, network=name, state=tmp_path, cache=hub_cache, scale=0.02, quota=2
    ) as hub:
        client, mark = hub.client(), hub.mark()
        head = client.manifest(NODE, "20", method="HEAD")
        assert (head.status, head.headers["ratelimit-limit"]) == (200, "2;w=21600")
        assert head.headers["ratelimit-remaining"] == "2;w=21600"
        left = [client.manifest(NODE, "20").headers["ratelimit-remaining"] for _ in range(2)]
        assert left == ["1;w=21600", "0;w=21600"]
        refused = client.manifest(NODE, "20")
        assert (refused.status, error_code(refused)) == (429, "TOOMANYREQUESTS")
        assert int(refused.headers["retry-after"]) > 0
        assert client.manifest(NODE, "20", method="HEAD").status == 200
        assert client.manifest(NODE, "no-such-tag").status == 404
        logged(hub, mark, 12)
        assert hub.totals(mark).quota_requests == 2


class TestBlobs:
    def test_the_registry_redirects_to_a_signed_address_of_the_cdn(self, hub: Hub) -> None:
        address, size = largest_address(hub)
        assert urlsplit(address).netloc == CDN_HOST
        head = hub.client().fetch(address, method="HEAD")
        assert (head.status, int(head.headers["content-length"])) == (200, size)
        assert head.headers["etag"]

    def test_an_address_with_another_signature_is_refused(self, hub: Hub) -> None:
        address, _ = largest_address(hub)
        assert hub.client().fetch(address[:-3] + "xyz").status == 403
        assert hub.client().fetch(address.partition("?")[0]).status == 403

    def test_an_old_address_is_refused(self, hub: Hub) -> None:
        address, _ = largest_address(hub)
        start, _, signature = address.partition("verify=")
        _, _, signature = signature.partition("-")
        assert hub.client().fetch(f"{start}verify=1700000000-{signature}").status == 403

    def test_a_range_is_served_and_logged(self, hub: Hub) -> None:
        address, size = largest_address(hub)
        mark = hub.mark()
        answer = hub.client().fetch(address, headers={"Range": "bytes=100-1099"})
        assert (answer.status, len(answer.body)) == (206, 1000)
        assert answer.headers["content-range"] == f"bytes 100-1099/{size}"
        logged(hub, mark, 1)
        (request,) = hub.requests(mark)
        assert (request.role, request.range, request.body_bytes) == ("cdn", "bytes=100-1099", 1000)

    def test_a_blob_of_another_repository_is_unknown(self, hub: Hub) -> None:
        token = hub.client().token(NODE)
        busybox = hub.images["library/busybox:1"].blobs[1].digest
        headers = {"Authorization": f"Bearer {token}"}
        answer = hub.client().ask(REGISTRY_HOST, f"/v2/{NODE}/blobs/{busybox}", headers=headers)
        assert (answer.status, error_code(answer)) == (404, "BLOB_UNKNOWN")


def pull(hub: Hub, image: HubImage, credentials: tuple[str, str] | None = None) -> int:
    """Pull an image for amd64, check every digest, and return the bytes of all bodies."""
    client = hub.client()
    repository, _, tag = image.reference.rpartition(":")
    token = client.token(repository, credentials=credentials)
    bodies = {client.manifest(repository, tag, token=token).body}
    bodies.add(client.manifest(repository, image.manifest_digest, token=token).body)
    for blob in image.blobs:
        body = client.fetch(client.blob_address(repository, blob.digest, token=token)).body
        assert len(body) == blob.size
        bodies.add(body)
    assert {sha256(body) for body in bodies} == {
        image.index_digest,
        image.manifest_digest,
        *(blob.digest for blob in image.blobs),
    }
    return sum(len(body) for body in bodies)


def test_every_image_is_what_its_digests_say_and_every_byte_is_logged(hub: Hub) -> None:
    for image in hub.images.values():
        mark = hub.mark()
        assert pull(hub, image, ("ann", "secret")) == image.unique_bytes
        logged(hub, mark, 3 + 2 * len(image.blobs))
        totals = hub.totals(mark)
        assert totals.blob_bytes == sum(blob.size for blob in image.blobs)
        twice = image.index_digest == image.manifest_digest
        manifests = image.unique_bytes - totals.blob_bytes
        assert totals.manifest_bytes == manifests * (2 if twice else 1)
        assert totals.quota_requests == 2


def test_the_language_images_share_their_base(hub: Hub) -> None:
    bases = {
        tuple(blob.digest for blob in hub.images[reference].blobs if blob.layer)[:4]
        for reference in ("library/node:20", "library/python:3.12", "library/ruby:3.3")
    }
    assert len(bases) == 1


@pytest.mark.parametrize(
    ("repository", "tag", "kind"),
    [
        (NODE, "20", "application/vnd.docker.distribution.manifest.list.v2+json"),
        ("library/python", "3.12", "application/vnd.oci.image.index.v1+json"),
    ],
)
def test_an_index_lists_two_platforms(hub: Hub, repository: str, tag: str, kind: str) -> None:
    answer = hub.client().manifest(repository, tag)
    assert answer.headers["content-type"] == kind
    platforms = [one["platform"]["architecture"] for one in json.loads(answer.body)["manifests"]]
    assert platforms == ["amd64", "arm64"]
    other = json.loads(answer.body)["manifests"][1]["digest"]
    assert sha256(hub.client().manifest(repository, other).body) == other


def test_the_first_layer_is_a_root_file_system_with_a_shell(hub: Hub) -> None:
    image = hub.images[f"{NODE}:20"]
    packed = hub.client().fetch(hub.client().blob_address(NODE, image.blobs[1].digest)).body
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        assert tar.getmember("bin/sh").linkname == "busybox"
        busybox = tar.extractfile("bin/busybox")
        assert busybox is not None
        assert busybox.read(4) == b"\x7fELF"


def test_members_of_the_network_reach_it_under_docker_hubs_names(
    hub: Hub, hub_engine: Engine
) -> None:
    ask = (
        "import ssl, sys, urllib.request, urllib.error\n"
        "trust = ssl.create_default_context(cafile='/ca.pem')\n"
        "for host in sys.argv[1:]:\n"
        "    try: urllib.request.urlopen(f'https://{host}/v2/', context=trust)\n"
        "    except urllib.error.HTTPError as error: print(error.code)\n"
    )
    member = hub_engine.run(
        ContainerSpec(
            name=f"{hub.name}-member",
            image=RECIPE.reference,
            command=("sleep", "60"),
            network=hub.network,
            mounts=(Mount(target="/ca.pem", source=str(hub.ca_file), read_only=True),),
        )
    )
    try:
        done = hub_engine.exec(member.id, ("python3", "-c", ask, REGISTRY_HOST, CDN_HOST))
    finally:
        hub_engine.remove(member.id)
    assert done.output.split() == ["401", "403"]


@pytest.mark.parametrize("connections", [1, 8])
def test_the_cap_holds_over_all_connections_together(hub: Hub, connections: int) -> None:
    address, size = largest_address(hub)
    rate, share = size, size // connections
    ranges = [f"bytes={n * share}-{(n + 1) * share - 1}" for n in range(connections)]
    hub.set_bandwidth(rate)
    client, begin = hub.client(), time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        answers = list(pool.map(lambda it: client.fetch(address, headers={"Range": it}), ranges))
    measured = sum(len(answer.body) for answer in answers) / (time.monotonic() - begin)
    # The burst is a few per cent of this small transfer; a busy machine may well be slower.
    assert 0.5 * rate < measured < 1.08 * rate
    hub.set_bandwidth(None)
    begin = time.monotonic()
    client.fetch(address)
    assert size / (time.monotonic() - begin) > 1.5 * rate


def test_two_hubs_share_the_authority_and_the_content(
    hub: Hub, hub_engine: Engine, hub_cache: Path
) -> None:
    name = f"test-hub-second-{os.getpid()}"
    state = hub.ca_file.parent
    with Hub.start(
        hub_engine, name=name, network=name, state=state, cache=hub_cache, scale=0.02
    ) as second:
        assert second.ca_file.read_text() == hub.ca_file.read_text()
        assert second.images == hub.images
        second.inject(Fault.SERVER_ERROR)
        assert hub.client().manifest(NODE, "20").status == 200
        assert second.client().ask(REGISTRY_HOST, "/v2/").status == 503
    second.stop()
    assert hub_engine.find(name) is None
    assert not hub_engine.network_subnets(name)


def test_a_failed_start_says_why_and_leaves_nothing(
    hub_engine: Engine, hub_cache: Path, tmp_path: Path
) -> None:
    name = f"test-hub-broken-{os.getpid()}"
    (tmp_path / "ca.pem").write_text("this is no certificate")
    with pytest.raises(VmregError, match=r"ended before it served[\s\S]*openssl"):
        Hub.start(hub_engine, name=name, network=name, state=tmp_path, cache=hub_cache, scale=0.02)
    assert hub_engine.find(name) is None
    assert not hub_engine.network_subnets(name)


def test_a_name_in_use_is_left_alone(hub: Hub, hub_engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(VmregError, match="is there already"):
        Hub.start(hub_engine, name=hub.name, network=hub.network, state=tmp_path, cache=tmp_path)
    assert hub.client().ask(REGISTRY_HOST, "/v2/").status == 401


def test_what_a_dead_process_left_is_replaced(
    hub_engine: Engine, hub_cache: Path, tmp_path: Path
) -> None:
    name = f"test-hub-left-{os.getpid()}"
    left = hub_engine.create(
        ContainerSpec(
            name=name, image=RECIPE.reference, command=("true",), labels={ROLE_LABEL: DEAD}
        )
    )
    with Hub.start(
        hub_engine, name=name, network=name, state=tmp_path, cache=hub_cache, scale=0.02
    ):
        found = hub_engine.find(name)
        assert found is not None
        assert found.id != left.id
