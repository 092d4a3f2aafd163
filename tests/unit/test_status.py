"""The status as data, and its schema: neither may know more than the other."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from vmreg import status
from vmreg.cli.common import show
from vmreg.containers import Container
from vmreg.status import Component, RateLimit, Status, Storage, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = json.loads((Path(status.__file__).parent / "schema/status.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
TEXTS = st.text(min_size=1, max_size=9)
COUNTS = st.integers(0, 2**60)
STATES = ("absent", "created", "running", "paused", "restarting", "removing", "exited", "dead")
CONTAINER = Container(
    id="0" * 64,
    name="cache-proxy",
    image="nginx:x",
    image_id="sha256:1",
    state="running",
    health="healthy",
    restarts=2,
    exit_code=0,
    started_at="2026-11-24T08:00:00Z",
    labels={},
    addresses={},
)


@dataclass(frozen=True)
class Place:
    """An object somewhere in a document, and the keys that lead there."""

    keys: tuple[str | int, ...]

    def of(self, document: Any) -> Any:  # noqa: ANN401 - JSON
        for key in self.keys:
            document = document[key]
        return document


def component(role: str) -> st.SearchStrategy[Component]:
    absent = st.just(status._component(role, f"cache-{role}", None))
    present = st.builds(
        Component,
        role=st.just(role),
        name=TEXTS,
        state=st.sampled_from(STATES[1:]),
        health=st.sampled_from(["", "starting", "healthy", "unhealthy"]),
        restarts=COUNTS,
        started_at=st.text(),
        image=TEXTS,
    )
    return absent | present


@st.composite
def statuses(draw: st.DrawFn) -> Status:
    fault = draw(st.just("") | TEXTS)
    return Status(
        state=draw(st.sampled_from(["degraded", "stopped" if fault else "running"])),
        serving=not fault,
        fault=fault,
        addresses=("127.0.0.1:5000", "172.17.0.1:5000")[: draw(st.integers(1, 2))],
        mirror="http://host.docker.internal:5000",
        components=(draw(component("proxy")), draw(component("storage"))),
        storage=Storage(
            path="/home/me/.vm/registry/data",
            blobs=draw(COUNTS),
            used_bytes=draw(COUNTS),
            max_bytes=draw(st.integers(1, 2**60)),
            free_bytes=draw(COUNTS),
        ),
        upstream=Upstream(
            url="https://registry-1.docker.io", reachable=draw(st.sampled_from([True, False, None]))
        ),
        rate_limit=draw(st.none() | rate_limits()),
        pending=tuple(draw(st.lists(TEXTS, max_size=2))),
    )


def rate_limits() -> st.SearchStrategy[RateLimit]:
    return st.builds(
        RateLimit,
        limit=st.integers(1, 10_000),
        remaining=st.none() | COUNTS,
        window_s=st.none() | COUNTS,
        seen_at=st.floats(0, 2e9),
    )


def document(found: Status) -> Any:  # noqa: ANN401 - JSON
    return json.loads(json.dumps({"schema_version": 1, **found.to_json()}))


SOUND = Status(
    state="running",
    serving=True,
    fault="",
    addresses=("127.0.0.1:5000",),
    mirror="http://host.docker.internal:5000",
    components=tuple(
        status._component(one, f"cache-{one}", CONTAINER) for one in ("proxy", "storage")
    ),
    storage=Storage(path="/d", blobs=1, used_bytes=2, max_bytes=3, free_bytes=4),
    upstream=Upstream(url="https://hub.example", reachable=True),
    rate_limit=RateLimit(limit=100, remaining=99, window_s=21_600, seen_at=1.5),
    pending=(),
)


def places(found: Any, *keys: str | int) -> Iterator[Place]:  # noqa: ANN401 - JSON
    """Yield every object of a document."""
    if isinstance(found, dict):
        yield Place(keys)
    inner = found.items() if isinstance(found, dict) else enumerate(found)
    for key, value in inner:
        if isinstance(value, dict | list):
            yield from places(value, *keys, key)


PLACES = tuple(places(document(SOUND)))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@settings(deadline=None)  # other work on the machine is no fault
@given(found=statuses())
def test_every_status_fits_the_schema(found: Status) -> None:
    VALIDATOR.validate(document(found))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: str(place.keys))
def test_no_object_may_have_a_key_more_or_fewer(place: Place) -> None:
    sound = document(SOUND)
    VALIDATOR.validate(sound)
    for key in place.of(sound):
        short = copy.deepcopy(sound)
        del place.of(short)[key]
        assert not VALIDATOR.is_valid(short), key
    long = copy.deepcopy(sound)
    place.of(long)["further"] = 1
    assert not VALIDATOR.is_valid(long)


def test_there_are_as_many_objects_as_classes() -> None:
    assert len(PLACES) == 6  # the whole, two components, storage, upstream, rate limit


@pytest.mark.parametrize(
    ("kind", "described"),
    [
        (Status, SCHEMA["properties"]),
        (Component, SCHEMA["$defs"]["component"]["properties"]),
        (Storage, SCHEMA["properties"]["storage"]["properties"]),
        (Upstream, SCHEMA["properties"]["upstream"]["properties"]),
        (RateLimit, SCHEMA["$defs"]["rate_limit"]["properties"]),
    ],
)
def test_the_schema_describes_every_field_in_its_order(
    kind: type[Status], described: dict[str, object]
) -> None:
    names = [one.name for one in fields(kind)]
    assert [name for name in described if name != "schema_version"] == names


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "stopped"},
        {"state": "asleep"},
        {"serving": False},
        {"fault": "it does not answer"},
        {"serving": False, "fault": "it does not answer"},
        {"addresses": ()},
        {"addresses": ("0.0.0.0",)},  # noqa: S104 - it is to be refused
        {"components": SOUND.components[::-1]},
        {"components": SOUND.components[:1]},
        {"components": (replace(SOUND.components[0], image=""), SOUND.components[1])},
        {"storage": replace(SOUND.storage, used_bytes=-1)},
        {"storage": replace(SOUND.storage, path="data")},
    ],
    ids=str,
)
def test_what_cannot_be_does_not_fit(changes: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(document(replace(SOUND, **changes)))


def test_a_failing_status_that_says_so_fits() -> None:
    VALIDATOR.validate(
        document(replace(SOUND, serving=False, state="degraded", fault="it does not answer"))
    )


@pytest.mark.parametrize(
    ("changes", "well"),
    [
        ({}, True),
        ({"health": ""}, True),
        ({"health": "starting"}, True),
        ({"health": "unhealthy"}, False),
        *(({"state": state}, state == "running") for state in STATES),
    ],
    ids=str,
)
def test_a_container_is_well_when_it_runs_and_is_not_known_to_be_ill(
    changes: dict[str, Any],
    well: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    complaint = status._complaint({"proxy": CONTAINER, "storage": replace(CONTAINER, **changes)})
    assert complaint.startswith("the storage ") is not well


def test_a_container_that_is_not_there() -> None:
    assert status._complaint({"proxy": None, "storage": CONTAINER}) == "the proxy is absent"
    assert status._component("proxy", "cache-proxy", None) == Component(
        role="proxy",
        name="cache-proxy",
        state="absent",
        health="",
        restarts=0,
        started_at="",
        image="",
    )


def test_a_container_that_is_there() -> None:
    assert status._component("proxy", "another-name", CONTAINER) == Component(
        role="proxy",
        name="another-name",
        state="running",
        health="healthy",
        restarts=2,
        started_at="2026-11-24T08:00:00Z",
        image="nginx:x",
    )


def test_what_is_printed_fits_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    def no_table() -> Any:  # noqa: ANN401 - never called
        raise AssertionError

    show("json", table=no_table, document=SOUND.to_json)
    VALIDATOR.validate(json.loads(capsys.readouterr().out))
