"""Files of other clients: the mirror put first, all else kept, and every byte back afterwards."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmreg.errors import VmregError
from vmreg.vms import clients

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = frozenset({"host.docker.internal"})
MIRROR = "http://host.docker.internal:5000"
ADDRESS = "172.17.0.1:5000"
COMPANY = """\
server = "https://registry-1.docker.io"

# the company's own
[host."https://mirror.example"]
  capabilities = ["pull"]  # no pushes
  [host."https://mirror.example".header]
    x-team = "shop"
[host."http://other.example:1"]
"""
HOSTS = (
    "",
    'server = "https://registry-1.docker.io"\n',
    'server = "https://registry-1.docker.io"',
    COMPANY,
    COMPANY.rstrip(),
    '[host]\n[host."http://a.example"]\n',
    '[ "host" . "http://a.example"]\nskip_verify = true\n',
)
BUILDKIT = (
    "",
    "debug = true",
    '[registry."quay.io"]\n  mirrors = ["q.example"]\n',
    '[registry."docker.io"]\n  mirrors = ["a:1", "b"]  # two\n\n[worker.oci]\n  gc = true\n',
    '[registry."docker.io"]\n  http = true\n# next\n[worker.oci]\n  gc = true\n',
    '[registry]\n  [registry."docker.io"]\n    mirrors = [\n      "a:1",  # one\n    ]\n',
    'registry."docker.io".mirrors = ["k"]\n',
    '[registry]\n"docker.io" = { mirrors = ["k"] }\n',
)


def with_host(text: str, mirror: str = MIRROR) -> str:
    return clients.with_host(text, "hosts.toml", mirror=mirror, ours=OURS)


def without_hosts(text: str) -> str:
    return clients.without_hosts(text, "hosts.toml", ours=OURS)


def with_buildkit(text: str, address: str = ADDRESS, *, plain: bool = True) -> str:
    return clients.with_buildkit_mirror(text, "b.toml", address=address, plain=plain, ours=OURS)


def without_buildkit(text: str) -> str:
    return clients.without_buildkit_mirror(text, "b.toml", ours=OURS)


@pytest.mark.parametrize("before", HOSTS)
def test_a_host_is_put_first_and_taken_out_again(before: str) -> None:
    after = with_host(before)

    assert clients.hosts(after, "") == (MIRROR, *clients.hosts(before, ""))
    assert with_host(after) == after
    assert without_hosts(after) == before
    assert without_hosts(before) == before


@given(
    st.lists(st.integers(min_value=1, max_value=99), unique=True),
    st.sampled_from(["", "# one\n", "# one\n\n", "# one\n  # two\n"]),
    st.sampled_from(["", "\n", "\n\n"]),
)
def test_the_order_of_the_other_hosts_stays(ports: list[int], note: str, end: str) -> None:
    before = "".join(f'{note}[host."http://m.example:{port}"]\n' for port in ports)
    before = f"{before.rstrip()}{end}"

    after = with_host(before)

    others = tuple(f"http://m.example:{port}" for port in ports)
    assert clients.hosts(after, "") == (MIRROR, *others)
    assert without_hosts(after) == before


def test_a_changed_port_replaces_the_host() -> None:
    after = with_host(with_host(COMPANY), "http://host.docker.internal:6000")

    assert clients.hosts(after, "")[0] == "http://host.docker.internal:6000"
    assert without_hosts(after) == COMPANY


def test_a_host_of_ours_that_a_person_wrote_is_moved_and_removed() -> None:
    written = f'[host."https://a.example"]\n[host."{MIRROR}"]\n  skip_verify = true\n'

    assert clients.hosts(with_host(written), "") == (MIRROR, "https://a.example")
    assert clients.hosts(without_hosts(written), "") == ("https://a.example",)


def test_a_host_that_a_person_wrote_first_is_left_alone() -> None:
    written = f'[host."{MIRROR}"]\n  skip_verify = true\n'

    assert with_host(written) == written


@pytest.mark.parametrize("can", ['["pull"]', '["resolve", "push"]', "[]", '"pull"'])
def test_a_host_that_may_not_do_all_of_a_pull_is_replaced(can: str) -> None:
    written = f'[host."{MIRROR}"]\n  capabilities = {can}\n[host."https://a.example"]\n'

    after = with_host(written)
    elsewhere = clients.with_host(written, "hosts.toml", mirror=MIRROR, ours=frozenset())

    hosts = tomllib.loads(after)["host"]
    assert hosts == tomllib.loads(elsewhere)["host"]
    assert hosts == {MIRROR: {"capabilities": ["pull", "resolve"]}, "https://a.example": {}}
    assert with_host(after) == after


def test_a_host_that_may_do_more_than_a_pull_is_left_alone() -> None:
    written = f'[host."{MIRROR}"]\n  capabilities = ["resolve", "push", "pull"]\n'

    assert with_host(written) == written


def test_a_host_with_an_address_that_is_none_is_left_alone() -> None:
    written = '[host."http://[::1"]\n'

    assert without_hosts(with_host(written)) == written


@pytest.mark.parametrize(
    "rigid", ['host = { "http://a" = {} }\n', 'x = """\n[host."http://a"]\n"""\n[host.b]\n']
)
def test_a_form_that_cannot_be_added_to_is_an_error(rigid: str) -> None:
    with pytest.raises(VmregError, match="nothing can be added to"):
        with_host(rigid)


@pytest.mark.parametrize("change", [with_host, without_hosts, with_buildkit, without_buildkit])
def test_a_broken_file_is_named_with_the_place(change: object) -> None:
    assert callable(change)
    with pytest.raises(VmregError, match=r"toml in the VM is not valid TOML") as caught:
        change("a = [1\nb = 2")

    assert "line 2" in caught.value.details


@pytest.mark.parametrize("before", BUILDKIT)
@pytest.mark.parametrize("plain", [True, False])
def test_a_builders_mirror_is_put_first_and_taken_out_again(
    before: str,
    plain: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    after = with_buildkit(before, plain=plain)

    said, was = tomllib.loads(after)["registry"], tomllib.loads(before).get("registry", {})
    assert said["docker.io"]["mirrors"] == [ADDRESS, *was.get("docker.io", {}).get("mirrors", [])]
    assert said[ADDRESS] == {"http": plain}
    assert with_buildkit(after, plain=plain) == after
    assert without_buildkit(after) == before


def test_a_builders_mirror_at_another_address_is_replaced() -> None:
    for before in BUILDKIT:
        moved = with_buildkit(with_buildkit(before), "10.0.0.1:6000")

        assert ADDRESS not in moved
        assert without_buildkit(moved) == before


def test_a_builders_mirror_under_our_name_is_ours_whoever_wrote_it() -> None:
    written = '[registry."docker.io"]\n  mirrors = ["host.docker.internal:1", "b"]\n'

    changed = tomllib.loads(without_buildkit(written))

    assert changed["registry"]["docker.io"]["mirrors"] == ["b"]


@pytest.mark.parametrize(
    "rigid",
    [
        'registry = { "quay.io" = {} }\n',
        '[registry."docker.io"]\nmirrors = "a"\n',
        "registry = 1\n",
    ],
)
def test_a_builders_file_that_cannot_be_added_to_is_an_error(rigid: str) -> None:
    with pytest.raises(VmregError, match="nothing can be added to"):
        with_buildkit(rigid)


def test_a_registry_that_speaks_https_cannot_be_a_plain_mirror() -> None:
    written = f'[registry."{ADDRESS}"]\n  http = false\n'

    with pytest.raises(VmregError, match="nothing can be added to") as caught:
        with_buildkit(written)

    assert caught.value.details == f'it needs: [registry."{ADDRESS}"] http = true'


@pytest.mark.parametrize("value", ["[" * 3000, "1" * 5000])
@pytest.mark.parametrize("change", [with_host, without_hosts, with_buildkit, without_buildkit])
def test_a_value_beyond_all_bounds_is_named_like_any_other_that_is_broken(
    change: Callable[[str], str], value: str
) -> None:
    with pytest.raises(VmregError, match=r"toml in the VM is not valid TOML"):
        change(f"a = {value}\n")


@pytest.mark.parametrize(
    "odd",
    [
        "registry = 5\n",
        'registry = ["a"]\n',
        '[[registry]]\nprefix = "docker.io"\nmirror = ["a"]\n',
        '[[registry]]\nprefix = "docker.io"\nmirror = "a"\n',
    ],
)
def test_podmans_file_of_an_odd_shape_is_named(odd: str) -> None:
    with pytest.raises(VmregError, match=r"^main in the VM has a form") as caught:
        clients.podman({"main": odd}, mirror=MIRROR)

    assert "tables" in caught.value.details


def test_podman_keeps_what_other_files_say_of_the_hub() -> None:
    main = 'unqualified-search-registries = ["docker.io"]\n[[registry]]\nlocation = "quay.io"\n'
    later = """\
[[registry]]
prefix = "docker.io"
location = "hub.example/docker"
blocked = false
[[registry.mirror]]
location = "m.example"
"""

    alone = tomllib.loads(clients.podman({"main": main}, mirror=MIRROR))["registry"]
    merged = tomllib.loads(clients.podman({"main": main, "later": later}, mirror=MIRROR))

    first = {"location": "host.docker.internal:5000", "insecure": True}
    assert alone == [{"prefix": "docker.io", "location": "docker.io", "mirror": [first]}]
    assert merged["registry"] == [
        {
            "prefix": "docker.io",
            "location": "hub.example/docker",
            "blocked": False,
            "mirror": [first, {"location": "m.example"}],
        }
    ]


def test_podman_verifies_a_mirror_that_speaks_https() -> None:
    said = tomllib.loads(clients.podman({}, mirror="https://mirror.example"))

    assert said["registry"][0]["mirror"] == [{"location": "mirror.example", "insecure": False}]


def test_podmans_broken_file_is_named() -> None:
    with pytest.raises(VmregError, match=r"/etc/containers/registries\.conf in the VM"):
        clients.podman({"/etc/containers/registries.conf": "["}, mirror=MIRROR)
