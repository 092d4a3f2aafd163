from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench
from bench import samples
from tests.unit import fabricate
from vmreg.errors import UsageError, VmregError

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = Path(bench.__file__).parent / "schema" / "samples.schema.json"


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    written = fabricate.samples()
    path = samples.write(tmp_path / "new" / "run", written)
    read, sha256 = samples.read(path)
    assert read == written
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@given(
    text=st.text(),
    floats=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)),
    count=st.integers(0, 2**53),
    flag=st.none() | st.booleans(),
)
def test_any_value_survives_the_file(
    *, text: str, floats: tuple[float, float], count: int, flag: bool | None
) -> None:
    client = samples.ClientSample(
        name=text,
        started_s=floats[0],
        finished_s=floats[1],
        body_bytes=count,
        digests_ok=flag,
        killed=bool(flag),
        first_bytes=(samples.FirstByte(digest=text, asked_s=floats[0], came_s=floats[1]),),
    )
    run = dataclasses.replace(fabricate.run(vms=1), clients=(client,))
    assert samples.from_json(samples.to_json(fabricate.samples(run))) == fabricate.samples(run)


def test_samples_are_written_once(tmp_path: Path) -> None:
    path = samples.write(tmp_path, fabricate.samples())
    before = path.read_bytes()
    with pytest.raises(VmregError, match="never overwritten"):
        samples.write(tmp_path, fabricate.samples(fabricate.run(vms=1)))
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o222 == 0
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_matches_its_schema_and_says_its_units(tmp_path: Path) -> None:
    document = json.loads(samples.write(tmp_path, fabricate.samples()).read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["units"]["*_bytes"] == "byte"
    assert next(iter(document)) == "schema_version"
    del document["runs"][0]["clients"][0]["started_s"]
    with pytest.raises(jsonschema.ValidationError, match="started_s"):
        jsonschema.validate(document, json.loads(SCHEMA.read_text()))


def test_the_schema_in_the_repository_is_the_one_of_the_code() -> None:
    remedy = "python -c \"from bench import samples; print(samples.schema(), end='')\""
    assert SCHEMA.read_text() == samples.schema(), f"write {SCHEMA} anew with: {remedy}"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"schema_version": 1', '"schema_version": 2', "schema version 2"),
        ('"schema_version": 1,', "", "schema version None"),
        ('"commit"', '"comit"', "meta.comit"),
        ('"arm": "vmreg"', '"arm": "squid"', "'direct', 'registry2' or 'vmreg'"),
        ('"vms": 1', '"vms": 2', "2 VMs, 1 clients"),
        ('"status": 200', '"status": "fine"', "requests.0.status"),
        (f'"unique_bytes": {fabricate.UNIQUE_BYTES}', '"unique_bytes": 0', "has to be positive"),
        ("{", "", "is not JSON"),
    ],
)
def test_a_wrong_file_is_refused_by_what_is_wrong(old: str, new: str, complaint: str) -> None:
    text = samples.to_json(fabricate.samples(fabricate.run(vms=1)))
    assert old in text
    with pytest.raises(UsageError) as caught:
        samples.from_json(text.replace(old, new, 1), source="here/samples.json")
    assert complaint in str(caught.value)
    assert "here/samples.json" in caught.value.brief


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        samples.read(tmp_path / "absent.json")


def _nothing() -> samples.Samples:
    return samples.Samples(meta=fabricate.meta(), runs=())


def _namesakes() -> samples.ArmRun:
    run = fabricate.run(vms=2)
    return dataclasses.replace(run, clients=(run.clients[0], run.clients[0]))


@pytest.mark.parametrize("build", [_nothing, _namesakes, lambda: fabricate.run(vms=0)])
def test_a_run_that_does_not_add_up_cannot_be_made(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"no run|clients"):
        build()


def test_payload_is_what_is_left_without_packet_headers() -> None:
    # Measured: 100,000,000 bytes of body and 191 of head through a veth pair.
    measured = samples.NetworkCounter(rx_bytes=100_167_897, rx_packets=2_541)
    assert measured.payload_bytes == 100_000_191
    assert samples.NetworkCounter(rx_bytes=60, rx_packets=1).payload_bytes == 0
