"""Access logs as nginx writes them, and as a power cut leaves them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmreg import accesslog
from vmreg.accesslog import EdgeRecord, OriginRecord, total

EDGE = {
    "time": 1764000000.123,
    "client": "172.18.0.3",
    "method": "GET",
    "uri": "/v2/library/node/manifests/20",
    "status": 200,
    "sent_bytes": 1234,
    "request_s": 0.25,
    "first_byte_s": "0.004 : 0.100, 0.050",
    "source": "storage",
    "cache": "STALE",
    "agent": "docker/28.5",
    "range": "",
}
ORIGIN = {
    "time": 1764000001.5,
    "method": "GET",
    "uri": "/v2/library/node/manifests/20",
    "status": 200,
    "host": "registry-1.docker.io",
    "received_bytes": "10, 5 : 1",
    "sent_bytes": 16,
    "request_s": 0.5,
    "first_byte_s": "-",
    "range": "bytes=0-2097151",
    "limit": "100;w=21600",
    "remaining": "76;w=21600",
    "limit_source": "192.0.2.1",
}


def line(row: object) -> bytes:
    return json.dumps(row).encode() + b"\n"


def written(path: Path, *rows: object) -> Path:
    path.write_bytes(b"".join(row if isinstance(row, bytes) else line(row) for row in rows))
    return path


def test_an_edge_line_is_read_whole(tmp_path: Path) -> None:
    (found,) = accesslog.edge(written(tmp_path / "log", EDGE))
    assert found.first_byte_s == pytest.approx(0.154)
    assert found == EdgeRecord(
        time=1764000000.123,
        client="172.18.0.3",
        method="GET",
        uri="/v2/library/node/manifests/20",
        status=200,
        sent_bytes=1234,
        request_s=0.25,
        first_byte_s=found.first_byte_s,
        source="storage",
        cache="STALE",
        agent="docker/28.5",
        range="",
    )


def test_an_origin_line_is_read_whole(tmp_path: Path) -> None:
    assert list(accesslog.origin(written(tmp_path / "log", ORIGIN))) == [
        OriginRecord(
            time=1764000001.5,
            method="GET",
            uri="/v2/library/node/manifests/20",
            status=200,
            host="registry-1.docker.io",
            received_bytes=16,
            sent_bytes=16,
            request_s=0.5,
            first_byte_s=None,
            range="bytes=0-2097151",
            limit=100,
            remaining=76,
            window_s=21600,
            limit_source="192.0.2.1",
        )
    ]


@pytest.mark.parametrize(
    ("limit", "remaining", "expected"),
    [
        ("", "", (None, None, None)),
        ("100", "99", (100, 99, None)),
        ("unlimited;w=60", "", (None, None, 60)),
        ("100;w=", "-1;w=60", (100, None, None)),
        ("0;w=60", "0;w=60", (0, 0, 60)),
    ],
)
def test_the_hubs_limit_is_read_as_far_as_it_goes(
    tmp_path: Path, limit: str, remaining: str, expected: tuple[int | None, ...]
) -> None:
    row = {**ORIGIN, "limit": limit, "remaining": remaining}
    (found,) = accesslog.origin(written(tmp_path / "log", row))
    assert (found.limit, found.remaining, found.window_s) == expected


@given(st.lists(st.lists(st.integers(0, 2**50), min_size=1), min_size=1))
def test_every_servers_bytes_are_added_up(groups: list[list[int]]) -> None:
    text = " : ".join(", ".join(str(one) for one in group) for group in groups)
    assert total(text) == sum(sum(group) for group in groups)


def test_servers_that_gave_nothing_add_nothing() -> None:
    assert [total(text) for text in ("", "-", "-, 7", "- : 7, -")] == [0, 0, 7, 7]


@pytest.mark.parametrize("row", [EDGE, ORIGIN], ids=["edge", "origin"])
@pytest.mark.parametrize(
    "damage",
    [
        b"\n",
        b"\0" * 40 + b"\n",
        b"\xff\xfe\n",
        b"[1]\n",
        b"7\n",
        b"null\n",
        b"{}\n",
        line({"time": 1}),
    ],
    ids=repr,
)
def test_a_damaged_line_costs_itself_alone(
    tmp_path: Path, row: dict[str, object], damage: bytes
) -> None:
    log = written(tmp_path / "log", damage, row, damage, row, damage.strip(b"\n"))
    assert len(read(log, row)) == 2


@pytest.mark.parametrize("name", ["status", "time", "sent_bytes", "request_s", "first_byte_s"])
@pytest.mark.parametrize("row", [EDGE, ORIGIN], ids=["edge", "origin"])
def test_a_number_that_is_none_costs_its_line(
    tmp_path: Path, row: dict[str, object], name: str
) -> None:
    log = written(tmp_path / "log", {**row, name: "many"}, row)
    assert len(read(log, row)) == 1


@pytest.mark.parametrize("row", [EDGE, ORIGIN], ids=["edge", "origin"])
def test_a_field_that_is_absent_costs_its_line(tmp_path: Path, row: dict[str, object]) -> None:
    lines = [{key: row[key] for key in row if key != name} for name in row]
    assert read(written(tmp_path / "log", *lines), row) == []


@settings(deadline=None)  # each writes a file
@given(cut=st.integers(1, len(line(EDGE)) - 2), junk=st.binary())
def test_whatever_a_power_cut_leaves_the_later_lines_are_read(cut: int, junk: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        torn = line(EDGE)[:cut] + junk.replace(b"\n", b"") + b"\n"
        log = written(Path(folder) / "log", EDGE, torn, EDGE)
        found = list(accesslog.edge(log))
    assert [one.uri for one in (found[0], found[-1])] == [EDGE["uri"]] * 2
    assert len(found) in {2, 3}  # three when the junk happens to end the line well


def read(log: Path, row: dict[str, object]) -> list[tuple[object, ...]]:
    """Read a log as the kind that ``row`` is of."""
    found = accesslog.edge(log) if "client" in row else accesslog.origin(log)
    return [astuple(one) for one in found]


def test_reading_goes_on_from_an_offset(tmp_path: Path) -> None:
    log = written(tmp_path / "log", EDGE)
    offset = log.stat().st_size
    with log.open("ab") as file:
        file.write(line({**EDGE, "uri": "/later"}))
    assert [one.uri for one in accesslog.edge(log, offset=offset)] == ["/later"]
    assert [one.uri for one in accesslog.edge(log, offset=offset - 3)] == ["/later"]


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(accesslog.edge(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError):
        list(accesslog.origin(tmp_path / "absent"))
    assert accesslog.latest_limit(tmp_path / "absent") is None


def test_the_latest_limit_is_the_last_line_that_has_one(tmp_path: Path) -> None:
    silent = {**ORIGIN, "limit": "", "remaining": ""}
    log = written(tmp_path / "log", ORIGIN, {**ORIGIN, "remaining": "75;w=21600"}, silent)
    found = accesslog.latest_limit(log)
    assert found is not None
    assert found.remaining == 75
    assert accesslog.latest_limit(written(tmp_path / "log", silent)) is None


def test_the_latest_limit_is_sought_at_the_logs_end_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {**ORIGIN, "limit": "", "remaining": ""}
    log = written(tmp_path / "log", ORIGIN, silent, silent)
    monkeypatch.setattr(accesslog, "TAIL_BYTES", 2 * len(line(silent)) + 5)
    assert accesslog.latest_limit(log) is None
    monkeypatch.setattr(accesslog, "TAIL_BYTES", log.stat().st_size)
    assert accesslog.latest_limit(log) is not None
