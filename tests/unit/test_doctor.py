"""What the doctor makes of what it saw, case by case, without a VM."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import vmreg
from vmreg import store
from vmreg.vms import checks
from vmreg.vms.cache import Cache, State
from vmreg.vms.findings import Finding, Report, fail, ok, one_line, skip
from vmreg.vms.provider import Vm
from vmreg.vms.seen import Seen
from vmreg.vms.symptoms import HOSTS_FILES, Daemon, Disk, Facts, Reach, Store, Way

SCHEMA = json.loads((Path(vmreg.__file__).parent / "schema" / "doctor.schema.json").read_text())
MIRROR = "http://host.docker.internal:5000"
BRIDGE = "172.17.0.1"
DAEMON = Daemon(
    version="28.5.2",
    architecture="amd64",
    store=Store.CONTAINERD,
    driver="overlayfs",
    mirrors=(MIRROR,),
    proxy="",
    no_proxy="",
    root="/var/lib/docker",
)
DISK = Disk(root="/var/lib/docker", free_bytes=10**10, free_inodes=10**6, refusal="")
FACTS = Facts(
    clock_s=1_000_000.0,
    daemon=DAEMON,
    silence="",
    has_docker=True,
    addresses=(BRIDGE,),
    settings_text=json.dumps({"registry-mirrors": [f"{MIRROR}/"]}),
    hosts_path="",
    hosts_text="",
    disk=DISK,
)
SERVING = Cache(state=State.SERVING, address="127.0.0.1:5000", detail="")
ANSWER = Reach(way=Way.ANSWERED, status=200, body=store.probe().manifest.decode())
WELL = Seen(
    name="shop",
    vm=Vm(name="shop", address="172.17.0.2", running=True, instance="vm-shop", labels={}),
    cache=SERVING,
    port=5000,
    hosts=(BRIDGE,),
    bound=("127.0.0.1", BRIDGE),
    facts=FACTS,
    asked_at_s=1_000_000.0,
    reach=ANSWER,
)


def findings(seen: Seen) -> dict[str, Finding]:
    return {one.id: one for one in (check(seen) for check in checks.CHECKS)}


def failing(seen: Seen) -> dict[str, str]:
    return {one.id: one.remedy for one in findings(seen).values() if one.status == "fail"}


def with_facts(**changes: object) -> Seen:
    return replace(WELL, facts=replace(FACTS, **changes))  # type: ignore[arg-type]  # any field


def with_daemon(**changes: object) -> Seen:
    return with_facts(daemon=replace(DAEMON, **changes))  # type: ignore[arg-type]  # any field


def with_reach(way: Way, *, status: int = 0, body: str = "", rule: str = "") -> Seen:
    return replace(WELL, reach=Reach(way=way, status=status, body=body), rule=rule)


def test_a_well_vm_passes_every_check_in_the_order_of_the_schema() -> None:
    found = findings(WELL)
    assert {one.status for one in found.values()} == {"ok"}
    listed = SCHEMA["properties"]["findings"]["items"]["properties"]["id"]["enum"]
    assert [*found, "pull"] == listed


def test_of_a_vm_that_is_stopped_nothing_else_is_said() -> None:
    assert WELL.vm is not None
    stopped = replace(
        WELL,
        vm=replace(WELL.vm, running=False),
        facts=None,
        reach=None,
        silence="the VM does not run",
    )
    assert failing(stopped) == {"vm-runs": "vm start shop"}
    inside = [one for key, one in findings(stopped).items() if key not in {"vm-runs", "cache"}]
    assert {(one.status, one.summary) for one in inside} == {("skip", "the VM does not run")}
    assert failing(replace(stopped, vm=None)) == {"vm-runs": "vm create shop"}


def test_an_engine_that_cannot_be_asked_is_no_fault_of_the_vm() -> None:
    seen = replace(WELL, vm=None, trouble="no engine", facts=None, cache=None, reach=None)
    assert failing(seen) == {}
    assert findings(seen)["vm-runs"].status == "skip"


@pytest.mark.parametrize(
    ("seen", "remedies"),
    [
        (with_facts(daemon=None, silence="no answer in 8 s"), {"docker": "vm logs shop"}),
        (with_facts(addresses=()), {"host-name": f"/etc/hosts read: {BRIDGE} host.docker"}),
        (with_facts(addresses=("192.0.2.1",)), {"host-name": "/etc/hosts"}),
        (with_facts(settings_text="{}"), {"mirror-first": "vm provision shop"}),
        (with_facts(settings_text="{"), {"mirror-first": "correct /etc/docker/daemon.json"}),
        (with_daemon(mirrors=()), {"mirror-first": "vm provision shop"}),
        (with_facts(disk=replace(DISK, refusal="No space left")), {"disk": "docker image prune"}),
        (with_facts(disk=replace(DISK, refusal="Read-only")), {"disk": "then vm start shop"}),
        (with_facts(disk=replace(DISK, free_bytes=10**8)), {"disk": "docker image prune"}),
        (with_facts(disk=replace(DISK, free_inodes=7)), {"disk": "docker image prune"}),
        (with_reach(Way.ANSWERED, status=403), {"reach": "vm registry start"}),
        (with_reach(Way.ANSWERED, status=200, body="hello"), {"reach": "iptables -t nat -S"}),
        (with_reach(Way.ANSWERED, body="SSH-2.0"), {"reach": "iptables -t nat -S"}),
        (with_reach(Way.DROPPED), {"reach": "INPUT -p tcp --dport 5000 -s 172.17.0.2 -j ACCEPT"}),
        (
            with_reach(Way.DROPPED, rule="-A OUTPUT -p tcp -j DROP"),
            {"reach": "vm exec shop -- iptables -D OUTPUT -p tcp -j DROP"},
        ),
        (with_reach(Way.NO_ROUTE), {"reach": "ip route"}),
        (with_reach(Way.SILENT), {"reach": "vm registry start"}),
        (with_reach(Way.REFUSED), {"reach": "iptables -I INPUT"}),
        (
            replace(with_reach(Way.REFUSED), bound=("127.0.0.1",)),
            {"reach": "remove docker_registry.bind"},
        ),
    ],
)
def test_each_fault_has_its_name_and_its_remedy(seen: Seen, remedies: dict[str, str]) -> None:
    found = failing(seen)
    assert found.keys() == remedies.keys()
    assert all(part in found[key] for key, part in remedies.items()), found


def test_the_remedy_gives_a_mirror_also_where_vms_do_without_one() -> None:
    seen = replace(with_daemon(mirrors=()), wanted=False)
    assert failing(seen) == {"mirror-first": "vm provision shop --registry"}


def test_the_wrong_port_is_one_fault_and_not_two() -> None:
    other = "http://host.docker.internal:5001"
    seen = with_facts(
        daemon=replace(DAEMON, mirrors=(other,)),
        settings_text=json.dumps({"registry-mirrors": [other]}),
    )
    assert failing(seen) == {"mirror-port": "vm provision shop"}


def old(*listed: str, insecure: tuple[str, ...] = (), wanted: bool = True) -> Seen:
    settings = {"registry-mirrors": [MIRROR], "insecure-registries": list(listed)}
    daemon = replace(DAEMON, version="20.10.24", insecure=insecure)
    return replace(with_facts(daemon=daemon, settings_text=json.dumps(settings)), wanted=wanted)


def test_an_old_buildkit_must_be_told_to_speak_http() -> None:
    address = "host.docker.internal:5000"
    assert failing(old(MIRROR, insecure=(address,))) == {}
    assert failing(old(f"{MIRROR}/", insecure=(address,))) == {}
    # Without its scheme 20.10 does not take it for the mirror.
    for listed in ((), (address,), ("172.17.0.0/16",)):
        assert failing(old(*listed, insecure=(address,))) == {"builds": "vm provision shop"}
    assert failing(old(wanted=False)) == {"builds": "vm provision shop --registry"}
    assert failing(old(MIRROR)) == {"builds": "vm stop shop, then vm start shop"}


def test_builds_are_not_blamed_for_a_mirror_that_is_missing() -> None:
    seen = replace(old(), port=5001)
    assert set(failing(seen)) == {"mirror-port"}
    assert findings(seen)["builds"].status == "skip"


@pytest.mark.parametrize("listed", ["http://[::1", "http://", "x"])
def test_a_mirror_that_is_no_address_is_only_another_one(listed: str) -> None:
    settings = json.dumps({"registry-mirrors": [listed]})
    seen = with_facts(daemon=replace(DAEMON, mirrors=(listed,)), settings_text=settings)
    assert failing(seen) == {"mirror-first": "vm provision shop"}


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '{"a": ' * 100_000, "[]", "\0"])
def test_a_file_that_cannot_be_understood_is_a_fault(text: str) -> None:
    found = failing(with_facts(settings_text=text))
    assert found == {
        "mirror-first": "correct /etc/docker/daemon.json in the VM, then vm provision shop"
    }


def test_a_file_that_cannot_be_read_is_a_fault() -> None:
    finding = findings(with_facts(settings_trouble="cat: Is a directory"))["mirror-first"]
    assert (finding.status, "cat: Is a directory" in finding.summary) == ("fail", True)


def test_rules_that_are_not_understood_are_pointed_at() -> None:
    seen = replace(with_reach(Way.DROPPED), rules_unsure=True)
    assert "vm exec shop -- iptables -S OUTPUT" in failing(seen)["reach"]
    assert "iptables -S" not in failing(with_reach(Way.DROPPED))["reach"]


def test_a_rule_that_leaves_no_route_is_named() -> None:
    rule = "-A OUTPUT -j REJECT --reject-with icmp-host-prohibited"
    remedies = failing(with_reach(Way.NO_ROUTE, rule=rule))
    assert remedies == {"reach": f"vm exec shop -- iptables {rule.replace('-A', '-D')}"}


def test_a_way_that_could_not_be_tried_is_no_fault() -> None:
    assert findings(with_reach(Way.UNKNOWN, body="no bash"))["reach"].status == "skip"
    assert failing(with_reach(Way.UNKNOWN)) == {}


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        (State.STOPPED, "vm registry start"),
        (State.SICK, "vm registry start"),
        (State.FOREIGN, "vm registry config set docker_registry.port 5001"),
    ],
)
def test_without_a_cache_the_way_to_it_is_not_blamed(state: State, remedy: str) -> None:
    found = Cache(state=state, address="127.0.0.1:5000", detail="nginx (pid 1)")
    remedies = failing(replace(WELL, cache=found, reach=None))
    assert list(remedies) == ["cache"]
    assert remedy in remedies["cache"]


@pytest.mark.parametrize(
    ("proxy", "no_proxy", "reach", "word"),
    [
        ("http://p:3128", "", Reach(way=Way.REFUSED), "the dead proxy"),
        ("http://p:3128", "localhost", Reach(way=Way.ANSWERED), "the proxy"),
        ("http://[::1", "", None, "the unusable proxy"),
        ("http://p:3128", "host.docker.internal", None, ""),
        ("", "", None, ""),
    ],
)
def test_a_proxy_is_in_the_way_unless_it_is_gone_around(
    proxy: str, no_proxy: str, reach: Reach | None, word: str
) -> None:
    seen = replace(with_daemon(proxy=proxy, no_proxy=no_proxy), proxy_reach=reach)
    finding = findings(seen)["proxy"]
    assert (finding.status, word in finding.summary) == ("fail" if word else "ok", True)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", "ok"),
        ("host = 1", "ok"),
        ("host = [", "ok"),
        ('[host."http://other"]', "fail"),
        (f'[host."{MIRROR}"]', "ok"),
        (f'[host."{MIRROR}/"]\n[host."http://other"]', "ok"),
        (f'[host."http://other"]\n[host."{MIRROR}"]', "fail"),
        (f'[host."{MIRROR}"]\ncapabilities = ["pull", "resolve", "push"]', "ok"),
        (f'[host."{MIRROR}"]\ncapabilities = ["push"]', "fail"),
        (f'[host."{MIRROR}"]\ncapabilities = 7', "ok"),
        (f'[host]\n"{MIRROR}" = 7', "ok"),
        ("a = " + "[" * 100_000, "ok"),
        ("a = " + "9" * 5000, "ok"),
    ],
)
def test_a_hosts_toml_is_read_as_the_containerd_store_does(text: str, status: str) -> None:
    facts = replace(FACTS, hosts_path=HOSTS_FILES[0], hosts_text=text)
    assert findings(replace(WELL, facts=facts))["hosts-toml"].status == status
    classic = replace(facts, daemon=replace(DAEMON, store=Store.CLASSIC))
    assert findings(replace(WELL, facts=classic))["hosts-toml"].status == "ok"


@pytest.mark.parametrize(
    ("skew_s", "word"), [(300, ""), (-300, ""), (301, "301 s ahead"), (-4000, "4000 s behind")]
)
def test_a_clock_may_be_five_minutes_off(skew_s: int, word: str) -> None:
    finding = findings(with_facts(clock_s=1_000_000.0 + skew_s))["clock"]
    assert (finding.status, word in finding.summary) == ("fail" if word else "ok", True)


def report(*found: Finding) -> Report:
    return Report(vm="shop", findings=found)


def test_a_vm_is_well_only_when_a_pull_was_seen() -> None:
    assert report(ok("vm-runs", "it runs"), ok("pull", "it came")).healthy
    assert not report(ok("vm-runs", "it runs"), skip("pull", "it was not tried")).healthy
    assert not report(fail("clock", "it is off", "set it"), ok("pull", "it came")).healthy


def test_a_report_is_as_its_schema_says() -> None:
    document = report(skip("vm-runs", "no engine"), fail("pull", "a\nb", "try")).to_json()
    jsonschema.validate({"schema_version": 1, **document}, SCHEMA)
    assert document["findings"][1] == {
        "id": "pull",
        "status": "fail",
        "summary": "a b",
        "remedy": "try",
    }


def test_what_is_long_keeps_its_beginning_and_its_end() -> None:
    text = one_line("first " + "x" * 1000 + "\nlast")
    assert len(text) < 410
    assert text.startswith("first ")
    assert text.endswith(" last")
