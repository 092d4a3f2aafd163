"""Settings of a VM's dockerd: what is merged, what is kept, what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmreg.errors import UsageError, VmregError
from vmreg.vms import provision

OURS = "http://host.docker.internal:5000"
OTHER_MIRRORS = st.lists(
    st.integers(min_value=1, max_value=65535).map("http://mirror.example:{}".format), max_size=3
)
VALUES = st.one_of(st.booleans(), st.integers(), st.text(), st.lists(st.text(), max_size=2))
KEYS = st.text(min_size=1).filter(lambda key: key != provision.MIRRORS)


@given(st.dictionaries(KEYS, VALUES, max_size=4), OTHER_MIRRORS)
def test_taking_a_mirror_out_again_gives_back_what_was_there(
    keys: dict[str, object], others: list[str]
) -> None:
    before = {**keys, provision.MIRRORS: others} if others else keys

    after = provision.with_mirror(before, OURS)

    assert after[provision.MIRRORS] == [OURS, *others]
    assert {key: after[key] for key in keys} == keys
    assert provision.without_hosts(after, {"host.docker.internal"}) == before


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_setting_twice_is_setting_once(keys: dict[str, object]) -> None:
    once = provision.with_mirror(keys, OURS)

    assert provision.with_mirror(once, OURS) == once


def test_a_changed_port_leaves_no_dead_mirror_behind() -> None:
    before = provision.with_mirror({}, "http://host.docker.internal:5001/")

    assert provision.with_mirror(before, OURS) == {provision.MIRRORS: [OURS]}


@pytest.mark.parametrize(
    "mirror",
    ["host.docker.internal:5000", "ftp://host:1", "http://", "http://host:5000/v2/", "",
     "http://[::1", "http://host:99999", "http://host:port"],
)  # fmt: skip
def test_what_dockerd_would_refuse_is_refused_before_it_is_written(mirror: str) -> None:
    with pytest.raises(UsageError) as caught:
        provision.with_mirror({}, mirror)

    assert caught.value.brief == f"{mirror} is not the address of a mirror"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("listed", ["http://one", [1], {"a": 1}, None])
def test_mirrors_of_the_wrong_kind_are_an_error_not_overwritten(listed: object) -> None:
    with pytest.raises(VmregError, match="not a list of addresses"):
        provision.with_mirror({provision.MIRRORS: listed}, OURS)


def test_an_empty_file_is_one_without_keys() -> None:
    assert provision.parse_settings(" \n") == {}


@pytest.mark.parametrize(
    ("text", "brief", "details"),
    [
        ('{"debug": tru}', "not valid JSON", "line 1 column 11"),
        ("[1]", "not a JSON object", "[1]"),
        ("[" * 100_000, "not valid JSON", "recursion"),
        ('{"a": %s}' % ("1" * 5000), "not valid JSON", "4300 digits"),
        ('{"a": 1e400}', "not valid JSON", "Out of range"),
        ('{"a": NaN}', "not valid JSON", "NaN is not a number"),
    ],
)
def test_a_broken_file_is_named_with_the_place(text: str, brief: str, details: str) -> None:
    with pytest.raises(VmregError) as caught:
        provision.parse_settings(text)

    assert brief in caught.value.brief
    assert details in caught.value.details


def test_a_new_vm_has_its_mirror_and_the_given_keys_from_the_start() -> None:
    settings = provision.initial_settings(mirror=OURS, more={"debug": True})

    assert settings == {
        "default-address-pools": [{"base": "10.213.0.0/16", "size": 24}],
        "debug": True,
        "registry-mirrors": [OURS],
    }
    assert json.loads(json.dumps(settings)) == settings


def test_given_keys_win_over_the_ones_that_are_set_here() -> None:
    settings = provision.initial_settings(more={"default-address-pools": []})

    assert settings == {"default-address-pools": []}


def test_a_new_vm_without_a_mirror_has_no_mirror_key() -> None:
    assert provision.MIRRORS not in provision.initial_settings()


def test_mirrors_that_dockerd_takes_for_one_are_one() -> None:
    listed = [OURS, "http://a.example/", f"{OURS}/", "http://a.example"]

    assert provision.mirrors({provision.MIRRORS: listed}) == (OURS, "http://a.example/")


def test_an_address_that_is_none_is_kept_for_dockerd_to_judge() -> None:
    settings = {provision.MIRRORS: ["http://[::1"], provision.INSECURE: ["http://[::1"]}

    assert provision.without_hosts(settings, {"host"}) == settings
    assert provision.without_plain(settings, {"host"}) == settings
    assert provision.with_mirror(settings, OURS)[provision.MIRRORS] == [OURS, "http://[::1"]
