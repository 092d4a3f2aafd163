from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.throughput import SERVERS, Round, Server, Throughput, judge, rates, to_json
from tests.unit import fabricate

GIGABYTE = 1_000_000_000


def seen(*rounds: dict[Server, float]) -> Throughput:
    """A run in which each server took so many seconds for a gigabyte, round by round."""
    return Throughput(
        commit="unknown",
        host=fabricate.meta().host,
        clients=4,
        blob_bytes=GIGABYTE // 4,
        rounds=tuple(
            Round(number=number, server=server, total_bytes=GIGABYTE, elapsed_s=one[server])
            for number, one in enumerate(rounds, start=1)
            for server in SERVERS
        ),
    )


@given(static=st.floats(0.1, 10), plain=st.floats(0.1, 10), ours=st.floats(0.1, 10))
def test_each_baseline_has_its_threshold(static: float, plain: float, ours: float) -> None:
    first, second = judge(seen({"static": static, "registry2": plain, "vmreg": ours}))
    assert first.measured == pytest.approx(static / ours)
    assert first.status == ("pass" if (first.measured or 0) >= 0.9 else "fail")
    assert second.measured == pytest.approx(plain / ours)
    assert second.status == ("pass" if (second.measured or 0) >= 1.2 else "fail")


def test_ratios_are_taken_within_a_round() -> None:
    """A host that is ten times slower in one round is so for all three."""
    quick: dict[Server, float] = {"static": 1.0, "registry2": 2.0, "vmreg": 1.0}
    slow: dict[Server, float] = {name: 10 * value for name, value in quick.items()}
    odd: dict[Server, float] = {**quick, "vmreg": 50.0}
    first, second = judge(seen(quick, slow, odd, quick, slow))
    assert (first.measured, second.measured) == pytest.approx((1.0, 2.0))


def test_the_document_holds_the_rounds_and_the_contract() -> None:
    made = seen({"static": 1.0, "registry2": 2.0, "vmreg": 1.0})
    document = json.loads(to_json(made))
    assert {"schema_version", "commit", "host", "criteria"} <= set(document)
    assert [one["id"] for one in document["criteria"]] == [
        "warm-blob-vs-static",
        "warm-blob-vs-registry2",
    ]
    assert len(document["rounds"]) == len(SERVERS)
    assert rates(made, "registry2") == [GIGABYTE / 2]
    assert "4 clients at once: 1000 MB/s against 500 MB/s" in document["criteria"][1]["evidence"]
