"""registry:2's files, on a real disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmreg import store
from vmreg.store import Usage, blob_path, digest_of, probe, put_probe, usage

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
REPOSITORY = "docker/registry/v2/repositories/library/vmreg.invalid/probe"


def fill(data: Path, contents: Iterable[bytes]) -> None:
    for content in contents:
        path = blob_path(data, digest_of(content))
        path.parent.mkdir(parents=True)
        path.write_bytes(content)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@given(content=st.binary())
def test_a_blob_lies_where_registry_2_puts_it(content: bytes) -> None:
    digits = hashlib.sha256(content).hexdigest()
    assert digest_of(content) == f"sha256:{digits}"
    assert blob_path(Path("/data"), f"sha256:{digits}") == Path(
        f"/data/docker/registry/v2/blobs/sha256/{digits[:2]}/{digits}/data"
    )


@settings(deadline=None, max_examples=40)  # each writes files
@given(contents=st.sets(st.binary(max_size=200), max_size=12))
def test_usage_counts_every_blob_and_every_byte(contents: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        fill(data, contents)
        assert usage(data) == Usage(blobs=len(contents), size_bytes=sum(map(len, contents)))


def test_usage_of_nothing(tmp_path: Path) -> None:
    assert usage(tmp_path / "absent") == Usage(blobs=0, size_bytes=0)


def test_usage_leaves_out_what_is_being_written_or_is_no_blob(tmp_path: Path) -> None:
    fill(tmp_path, [b"whole"])
    blob_path(tmp_path, digest_of(b"begun")).parent.mkdir(parents=True)
    upload = tmp_path / store.ROOT / "repositories/library/node/_uploads/1/data"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(b"half")
    assert usage(tmp_path) == Usage(blobs=1, size_bytes=5)


def test_the_probe_is_an_image_that_names_its_parts() -> None:
    image = probe()
    manifest = json.loads(image.manifest)
    assert manifest["mediaType"] == store.MANIFEST_TYPE
    (layer,) = manifest["layers"]
    assert layer["digest"] == image.layer_digest == digest_of(image.layer)
    assert layer["size"] == len(image.layer)
    assert manifest["config"]["digest"] == digest_of(image.config)
    assert manifest["config"]["size"] == len(image.config)
    assert json.loads(image.config)["rootfs"]["diff_ids"] == [image.layer_digest]


def test_the_probe_never_changes() -> None:
    """A cache that runs holds the probe of the version that started it."""
    assert probe() == probe()
    assert probe().manifest_digest == (
        "sha256:be6faaa588ff9823d73bdd01b2b5e2a71a550051ac8a505b1a447b38b8f82b73"
    )


def test_the_probe_is_put_where_the_registry_looks(tmp_path: Path) -> None:
    image = put_probe(tmp_path)
    config = digest_of(image.config)
    assert files(tmp_path) == {
        **{
            str(blob_path(Path(), digest_of(content))): content
            for content in (image.manifest, image.config, image.layer)
        },
        **{
            f"{REPOSITORY}/{folder}/sha256/{digest.removeprefix('sha256:')}/link": digest.encode()
            for folder, digest in (
                ("_manifests/revisions", image.manifest_digest),
                ("_layers", config),
                ("_layers", image.layer_digest),
            )
        },
    }


def test_a_second_time_writes_nothing(tmp_path: Path) -> None:
    put_probe(tmp_path)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
    put_probe(tmp_path)
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("damage", [b"", b"\0" * 768, b"vmreg probe\n"])
def test_a_damaged_probe_is_mended(tmp_path: Path, damage: bytes) -> None:
    sound = files_after_putting(tmp_path)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.write_bytes(damage)
    assert files_after_putting(tmp_path) == sound


def files_after_putting(data: Path) -> dict[str, bytes]:
    put_probe(data)
    return files(data)


def test_who_reads_meanwhile_sees_the_old_file_whole(tmp_path: Path) -> None:
    put_probe(tmp_path)
    path = blob_path(tmp_path, probe().layer_digest)
    path.write_bytes(b"damaged")
    with path.open("rb") as reader:
        put_probe(tmp_path)
        assert reader.read() == b"damaged"
    assert path.read_bytes() == probe().layer


@ROOT_ONLY
def test_all_that_was_made_is_given_to_the_owner(tmp_path: Path) -> None:
    data = tmp_path / "state" / "data"
    put_probe(data, owner=(12_345, 23_456))
    made = [data, *data.rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12_345, 23_456)}
    assert data.parent.stat().st_uid == 0  # not the data's own folder


@ROOT_ONLY
def test_what_was_there_keeps_its_owner(tmp_path: Path) -> None:
    fill(tmp_path, [b"another's"])
    put_probe(tmp_path, owner=(12_345, 12_345))
    assert blob_path(tmp_path, digest_of(b"another's")).stat().st_uid == 0
    assert (tmp_path / store.ROOT / "blobs").stat().st_uid == 0
