"""The hub's limit before and after, read from a log whose lines come in any order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vmreg.prewarm.quota import Watch

if TYPE_CHECKING:
    from pathlib import Path

    from vmreg.status import RateLimit


def add(log: Path, method: str, remaining: int | None, *, at: float) -> None:
    said = remaining is not None
    row = {
        "time": at,
        "method": method,
        "uri": "/v2/library/node/manifests/20",
        "status": 200,
        "host": "hub",
        "received_bytes": "1",
        "sent_bytes": 1,
        "request_s": 0.1,
        "first_byte_s": "0.1",
        "range": "",
        "limit": "100;w=21600" if said else "",
        "remaining": f"{remaining};w=21600" if said else "",
        "limit_source": "",
    }
    with log.open("a") as sink:
        sink.write(json.dumps(row) + "\n")


def left(seen: RateLimit | None) -> int | None:
    assert seen is not None
    return seen.remaining


def test_requests_at_once_are_put_in_order(tmp_path: Path) -> None:
    log = tmp_path / "origin.jsonl"
    add(log, "GET", 80, at=5)
    watch = Watch(log)
    for method, remaining, at in (
        ("GET", 59, 100.0),
        ("HEAD", 59, 100.1),
        ("HEAD", 60, 100.2),
        ("HEAD", 70, 300.0),  # long afterwards: some came back
        ("GET", 68, 400.0),
        ("GET", None, 400.1),
        ("GET", 69, 400.2),
    ):
        add(log, method, remaining, at=at)

    assert left(watch.before()) == 60
    assert left(watch.after()) == 68


def test_without_a_word_since_the_last_one_stands(tmp_path: Path) -> None:
    log = tmp_path / "origin.jsonl"
    assert Watch(log).before() is None
    assert Watch(log).after() is None
    add(log, "GET", 80, at=5)
    watch = Watch(log)
    add(log, "GET", None, at=6)

    assert left(watch.before()) == 80
    assert left(watch.after()) == 80


def test_a_log_that_was_rotated_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "origin.jsonl"
    for _ in range(3):
        add(log, "GET", 80, at=5)
    watch = Watch(log)
    log.write_text("")
    add(log, "HEAD", 79, at=6)

    assert left(watch.before()) == 79
    assert left(watch.after()) == 79
