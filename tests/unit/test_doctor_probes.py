"""Fresh probes in a data folder: put whole, removed whole, and nothing else touched."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from vmreg import probes, store

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "sha256:" + "1" * 64


def files(folder: Path) -> dict[Path, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in found}


def aged(probe: probes.FreshProbe) -> probes.FreshProbe:
    _, made, rest = probe.tag.split("-")
    return replace(probe, tag=f"fresh-{int(made) - probes.LEFT_OVER_S - 5}-{rest}")


def test_it_is_an_image_that_can_be_unpacked() -> None:
    image = probes.fresh().image
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    assert manifest["config"]["digest"] == store.digest_of(image.config)
    assert [one["digest"] for one in manifest["layers"]] == [image.layer_digest]
    archive = gzip.decompress(image.layer)
    assert config["rootfs"]["diff_ids"] == [store.digest_of(archive)]
    with tarfile.open(fileobj=io.BytesIO(archive)) as unpacked:
        assert unpacked.getnames() == ["probe"]


def test_putting_and_removing_leaves_what_was_there(tmp_path: Path) -> None:
    store.put_probe(tmp_path)
    before = files(tmp_path)
    one, other = probes.fresh(), probes.fresh()
    probes.put(tmp_path, one)
    probes.put(tmp_path, other)
    link = store.tags_folder(tmp_path) / one.tag / "current" / "link"
    assert link.read_text() == one.image.manifest_digest
    assert store.blob_path(tmp_path, one.image.layer_digest).read_bytes() == one.image.layer
    for tag in (one.tag, other.tag, one.tag):
        probes.remove(tmp_path, tag)
    assert files(tmp_path) == before


def test_what_a_killed_process_left_goes_with_the_next_probe(tmp_path: Path) -> None:
    old, busy, new = aged(probes.fresh()), probes.fresh(), probes.fresh()
    for one in (old, busy):
        probes.put(tmp_path, one)
    store.put_tag(tmp_path, "kept", OTHER)
    probes.put(tmp_path, new)
    left = {path.name for path in store.tags_folder(tmp_path).iterdir()}
    assert left == {busy.tag, new.tag, "kept"}
    assert not store.blob_path(tmp_path, old.image.layer_digest).exists()


@pytest.mark.parametrize("damage", [b"", b"\0" * 70, OTHER.encode(), b"sha256:../../../etc"])
def test_a_damaged_one_can_be_removed(tmp_path: Path, damage: bytes) -> None:
    probe = probes.fresh()
    probes.put(tmp_path, probe)
    folder = store.tags_folder(tmp_path) / probe.tag
    (folder / "current" / "link").write_bytes(damage)
    probes.remove(tmp_path, probe.tag)
    assert not folder.exists()


@pytest.mark.parametrize("tag", ["latest", "", "..", "fresh-1"])
def test_only_fresh_probes_are_ever_removed(tmp_path: Path, tag: str) -> None:
    with pytest.raises(ValueError, match="is not the tag of a fresh probe"):
        probes.remove(tmp_path, tag)
