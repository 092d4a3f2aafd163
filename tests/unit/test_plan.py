"""What the containers will be, worked out from settings and facts."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vmreg import plan
from vmreg.config.model import Credentials, RegistrySettings, Settings, UpstreamSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmreg.containers import ContainerSpec

IMAGES = plan.Images(proxy="nginx:x", storage="registry:x")
FACTS = plan.HostFacts(
    addresses=("127.0.0.1", "172.17.0.1"),
    clients=("172.18.0.0/16", "172.17.0.0/16"),
    inside="172.19.0.0/16",
    owner=(1000, 1001),
)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
COMPONENTS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,6}[a-z0-9])?", fullmatch=True)


def settings_of(*, upstream: Mapping[str, Any] | None = None, **registry: Any) -> Settings:  # noqa: ANN401 - whatever the model holds
    made = RegistrySettings(upstream=UpstreamSettings(**(upstream or {})), **registry)
    return Settings(home=Path("/home/me/.vm"), registry=made, origins={})


def knowing(password: str) -> plan.HostFacts:
    return replace(FACTS, password=password)


def parts(
    made: Settings | None = None, facts: plan.HostFacts = FACTS
) -> tuple[plan.Part, plan.Part]:
    return plan.parts(made or settings_of(), facts, IMAGES)


def conf(made: Settings, facts: plan.HostFacts = FACTS) -> str:
    return plan.nginx_conf(made, facts)


def mounts(spec: ContainerSpec) -> dict[str, tuple[str, bool]]:
    return {one.target: (one.source, one.read_only) for one in spec.mounts if one.kind == "bind"}


@pytest.mark.parametrize("index", [0, 1], ids=["proxy", "storage"])
def test_a_part_has_no_privilege(index: int) -> None:
    spec = parts()[index].spec
    assert spec.user == "1000:1001"
    assert (spec.cap_drop, spec.cap_add) == (("ALL",), ())
    assert spec.security_opt == ("no-new-privileges:true",)
    assert spec.read_only
    assert not spec.unmask_system_paths


@pytest.mark.parametrize("index", [0, 1], ids=["proxy", "storage"])
def test_a_part_heals_itself_and_is_bounded(index: int) -> None:
    spec = parts()[index].spec
    assert spec.restart
    assert spec.init
    assert spec.health is not None
    assert spec.health.argv[:2] == ("sh", "/etc/vmreg/health.sh")
    assert spec.log_bytes > 0
    assert spec.pids > 0


def test_the_proxy_alone_is_published_where_the_facts_say() -> None:
    proxy, storage = parts(settings_of(port=5555))
    published = [(one.address, one.host, one.container) for one in proxy.spec.ports]
    assert published == [("127.0.0.1", 5555, 5000), ("172.17.0.1", 5555, 5000)]
    assert storage.spec.ports == ()


def test_storage_starts_on_the_inner_network_and_the_proxy_on_the_outer() -> None:
    proxy, storage = parts(settings_of(instance="cache"))
    assert (proxy.spec.network, proxy.spec.name) == ("cache", "cache-proxy")
    assert (storage.spec.network, storage.spec.name) == ("cache-inside", "cache-storage")


def test_the_proxy_reads_the_data_that_storage_writes() -> None:
    proxy, storage = parts()
    state = "/home/me/.vm/registry"
    config = f"{state}/config"
    assert mounts(proxy.spec) == {
        "/etc/vmreg": (f"{config}/proxy-{proxy.digest}", True),
        "/data": (f"{state}/data", True),
        "/fetch": (f"{state}/fetch", False),
        "/logs": (f"{state}/logs", False),
        "/run/vmreg": (f"{state}/run", False),
    }
    assert mounts(storage.spec) == {
        "/etc/vmreg": (f"{config}/storage-{storage.digest}", True),
        "/data": (f"{state}/data", False),
        "/fetch": (f"{state}/fetch", False),
        "/run/vmreg": (f"{state}/run", False),
    }
    assert {source.split("/")[5] for source, _ in mounts(proxy.spec).values()} == set(
        plan.STATE_FOLDERS
    )


def test_a_part_has_the_files_that_it_runs() -> None:
    for part in parts(facts=replace(FACTS, ca_pem=b"PEM")):
        command = [*part.spec.command, *(part.spec.health.argv if part.spec.health else ())]
        wanted = {Path(word).name for word in command if word.startswith("/etc/vmreg/")}
        assert wanted == {"health.sh", f"{part.role}.sh"}
        assert wanted <= set(part.files)


def test_the_engine_waits_longer_than_nginx_drains() -> None:
    spec = parts()[0].spec
    assert spec.stop_signal == "SIGQUIT"
    assert f"worker_shutdown_timeout {plan.QUIT_S}s;" in conf(settings_of())
    assert spec.stop_timeout_s > plan.QUIT_S


def test_a_part_is_labelled_with_its_instance_role_and_digest() -> None:
    settings = settings_of(instance="cache")
    for part in parts(settings):
        assert part.spec.labels == {
            "vmreg.instance": "cache",
            "vmreg.state": str(settings.state_dir),
            "vmreg.role": part.role,
            "vmreg.config": part.digest,
        }
        assert re.fullmatch("[0-9a-f]{16}", part.digest)


def test_the_same_gives_the_same() -> None:
    assert parts() == parts()


@pytest.mark.parametrize(
    ("made", "facts", "changed"),
    [
        ({"port": 5001}, {}, {"proxy"}),
        ({"fetch_size": 7}, {}, {"proxy"}),
        ({"repositories": ("library/*",)}, {}, {"proxy"}),
        ({"upstream": {"network": "hub"}}, {}, {"proxy"}),
        ({"upstream": {"timeout": timedelta(seconds=30)}}, {}, {"proxy"}),
        ({"tag_freshness": timedelta(hours=1)}, {}, {"proxy"}),
        ({}, {"addresses": ("127.0.0.1",)}, {"proxy"}),
        ({}, {"clients": ("10.0.0.0/8",)}, {"proxy"}),
        ({}, {"ca_pem": b"one"}, {"proxy"}),
        ({}, {"inside": "10.1.0.0/16"}, {"proxy"}),
        ({}, {"owner": (1, 2)}, {"proxy", "storage"}),
        ({"credentials": Credentials(username="me")}, {"password": "x"}, {"storage"}),
        ({"instance": "other"}, {}, {"proxy", "storage"}),
        ({"max_size": 7, "enabled": True, "gc_policy": timedelta(days=1)}, {}, set()),
    ],
    ids=str,
)
def test_a_digest_changes_with_what_its_part_is_made_of(
    made: dict[str, Any], facts: dict[str, Any], changed: set[str]
) -> None:
    before = {part.role: part.digest for part in parts()}
    after = {part.role: part.digest for part in parts(settings_of(**made), replace(FACTS, **facts))}
    assert {role for role in before if before[role] != after[role]} == changed


def test_a_digest_changes_with_a_certificate_a_password_and_an_image() -> None:
    me = settings_of(credentials=Credentials(username="me"))
    digests = {
        part.digest
        for part in (
            plan.proxy(me, replace(FACTS, ca_pem=b"one"), "nginx:x"),
            plan.proxy(me, replace(FACTS, ca_pem=b"two"), "nginx:x"),
            plan.proxy(me, replace(FACTS, ca_pem=b"two"), "nginx:y"),
            plan.storage(me, knowing("one"), "registry:x"),
            plan.storage(me, knowing("two"), "registry:x"),
            plan.storage(me, knowing("two"), "registry:y"),
        )
    }
    assert len(digests) == 6


def test_the_own_certificates_are_trusted_instead_of_the_systems() -> None:
    with_own = parts(facts=replace(FACTS, ca_pem=b"PEM"))[0].files
    without = parts()[0].files
    assert with_own["upstream-ca.pem"] == b"PEM"
    assert b"proxy_ssl_trusted_certificate /etc/vmreg/upstream-ca.pem;" in with_own["nginx.conf"]
    assert "upstream-ca.pem" not in without
    assert (
        b"proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;"
        in without["nginx.conf"]
    )


PASSWORDS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1)


@settings(deadline=None)  # other work on the machine is no fault
@given(password=PASSWORDS)
def test_any_password_reaches_the_registry_as_it_is(password: str) -> None:
    me = settings_of(credentials=Credentials(username="me@x"))
    storage = plan.storage(me, knowing(password), "registry:x")
    proxy = yaml.safe_load(storage.files["registry.yml"])["proxy"]
    assert (proxy["username"], proxy["password"]) == ("me@x", password)


def test_the_password_lies_in_one_file_and_in_no_specification() -> None:
    me = settings_of(credentials=Credentials(username="me"))
    made = parts(me, knowing("hunter2"))
    holding = [name for part in made for name in part.files if b"hunter2" in part.files[name]]
    assert holding == ["registry.yml"]
    assert all("hunter2" not in repr(part.spec) for part in made)


def test_without_credentials_the_registry_has_none() -> None:
    registry = yaml.safe_load(parts()[1].files["registry.yml"])
    assert registry["proxy"] == {"remoteurl": "http://egress:5001"}
    assert registry["storage"]["delete"] == {"enabled": False}
    assert "cache" not in registry["storage"]


@given(name=LABELS, further=st.lists(LABELS, min_size=1, max_size=3))
def test_a_wildcard_stands_for_one_label_or_more(name: str, further: list[str]) -> None:
    pattern = plan.host_pattern(f"*.{name}.com")
    for port in ("", ":443"):
        assert re.fullmatch(pattern, f"{'.'.join(further)}.{name}.com{port}")
    for host in (
        f"{name}.com",
        f".{name}.com",
        f"evil{name}.com",
        f"a.{name}.com.evil.org",
        f"a.{name}xcom",
        f"a.{name}.com:444",
        f"a@{name}.com",
        f"a/.{name}.com",
    ):
        assert not re.fullmatch(pattern, host), host


@given(host=st.lists(LABELS, min_size=1, max_size=4).map(".".join), port=st.integers(1, 65_535))
def test_a_host_without_wildcard_stands_for_itself(host: str, port: int) -> None:
    assert re.fullmatch(plan.host_pattern(f"{host}:{port}"), f"{host}:{port}")
    assert re.fullmatch(plan.host_pattern(host.upper()), host)
    assert not re.fullmatch(plan.host_pattern(host), f"a{host}")
    assert not re.fullmatch(plan.host_pattern(host), f"a.{host}")
    on_port = bool(re.fullmatch(plan.host_pattern(host), f"{host}:{port}"))
    assert on_port == (port == 443)
    assert bool(re.fullmatch(plan.host_pattern(f"{host}:{port}"), host)) == (port == 443)


@given(
    names=st.lists(COMPONENTS, min_size=1, max_size=3),
    globs=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_a_glob_stays_within_its_component(names: list[str], globs: list[bool]) -> None:
    glob = "/".join("*" if wild else name for name, wild in zip(names, globs, strict=False))
    pattern = plan.glob_pattern(glob)
    name = "/".join(names)
    assert re.search(pattern, name)
    assert not re.search(pattern, f"{name}/more")
    assert not re.search(pattern, f"more/{name}")
    other = [f"x{one}" for one in names]
    assert bool(re.search(pattern, "/".join(other))) == all(globs[: len(names)])


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("library/node", "library/node", True),
        ("library/node", "library/nodejs", False),
        ("library/node.js", "library/nodexjs", False),
        ("team-*/app*", "team-a/app", False),  # a star is one character at least
        ("team-*/app*", "team-a/app-2", True),
        ("team-*/app*", "team-a/b/app-2", False),
        ("*", "library/node", False),
        ("*/*", "library/node", True),
    ],
)
def test_globs_by_example(glob: str, name: str, matches: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert bool(re.search(plan.glob_pattern(glob), name)) == matches


def test_what_is_served_is_an_allow_list_when_there_is_one() -> None:
    everything = conf(settings_of())
    some = conf(settings_of(repositories=("library/*", "me/app")))
    assert re.search(r"map \$repo \$allowed \{\s+default 1;", everything)
    allowed = re.search(r"map \$repo \$allowed \{([^}]*)\}", some)
    assert allowed is not None
    assert allowed[1].split() == [
        *("default", "0;"),
        *('"library/vmreg.invalid/probe"', "1;"),
        *('"~^library/[^/]+$"', "1;"),
        *('"~^me/app$"', "1;"),
    ]


def test_only_the_facts_subnets_are_let_in() -> None:
    edge = re.search(r"listen 5000;(.*?)deny all;", conf(settings_of()), flags=re.DOTALL)
    egress = re.search(r"listen 5001;(.*?)deny all;", conf(settings_of()), flags=re.DOTALL)
    assert edge is not None
    assert egress is not None
    assert re.findall(r"allow (\S+);", edge[1]) == list(FACTS.clients)
    assert re.findall(r"allow (\S+);", egress[1]) == [FACTS.inside, "127.0.0.1", "unix:"]


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        ({}, ["registry-1.docker.io", "auth.docker.io", *UpstreamSettings().redirect_hosts[:3]]),
        (
            {
                "url": "https://hub.example:8443",
                "token_url": "https://hub.example/token",
                "redirect_hosts": ("cdn.example", "*.cdn.example", "hub.example", "cdn.example:99"),
            },
            ["hub.example", "cdn.example"],
        ),
        ({"url": "http://hub.example", "token_url": "", "redirect_hosts": ()}, []),
    ],
)
def test_a_relay_is_an_https_host_known_by_its_full_name(
    upstream: dict[str, Any], expected: list[str]
) -> None:
    found = plan.relays(settings_of(upstream=upstream))
    assert [one.name for one in found] == expected
    assert {one.port for one in found} <= {443}
    assert [one.authority for one in found] == expected


def test_docker_hub_goes_by_all_its_names_and_another_by_its_own() -> None:
    hub = re.search(r"map \$arg_ns \$foreign \{(.*)\}", conf(settings_of()))
    own = re.search(
        r"map \$arg_ns \$foreign \{(.*)\}",
        conf(settings_of(upstream={"url": "https://hub.example:8443"})),
    )
    assert hub is not None
    assert own is not None
    assert re.findall(r'"([^"]+)" 0;', hub[1]) == [
        "docker.io",
        "registry-1.docker.io",
        "index.docker.io",
    ]
    assert re.findall(r'"([^"]+)" 0;', own[1]) == ["hub.example:8443"]


@given(timeout_s=st.integers(5, 600))
def test_every_wait_together_stays_within_the_timeout(timeout_s: int) -> None:
    text = conf(settings_of(upstream={"timeout": timedelta(seconds=timeout_s)}))
    origin = text[text.index("listen unix:/tmp/origin.sock;") :]
    patience = re.search(r"proxy_read_timeout (\d+)s;", origin)
    answer = re.search(r"location @slow_tag \{\s+proxy_read_timeout (\d+)s;", text)
    assert patience is not None
    assert answer is not None
    assert 2 * int(patience[1]) <= int(answer[1]) < timeout_s


@pytest.mark.parametrize(
    ("freshness", "seconds"), [(timedelta(minutes=1), 60), (timedelta(days=2), 172_800)]
)
def test_a_tag_is_believed_as_long_as_the_setting_says(freshness: timedelta, seconds: int) -> None:
    text = conf(settings_of(tag_freshness=freshness))
    assert text.count(f"proxy_cache_valid 200 {seconds}s;") >= 2
    assert f"proxy_cache_valid 200 {min(seconds, 30)}s;" in text


def test_an_upstream_without_tokens_challenges_nobody() -> None:
    free = conf(settings_of(upstream={"url": "https://hub.example", "token_url": ""}))
    assert "WWW-Authenticate '" not in free
    assert 'realm="http://egress:5001/token",service="registry.docker.io"' in conf(settings_of())


def test_redirects_lead_to_the_listed_hosts_and_the_upstream_itself() -> None:
    made = settings_of(
        upstream={"url": "https://hub.example:8443", "redirect_hosts": ("*.cdn.example",)}
    )
    text = conf(made)
    allowed = text[text.index("map $upstream_http_location $redirect") : text.index("map $cdn ")]
    assert re.findall(r'"~(\S+)"', allowed) == [
        "^https://([a-z0-9-]+[.])+cdn[.]example(:443)?/",
        "^https://hub[.]example:8443/",
    ]
