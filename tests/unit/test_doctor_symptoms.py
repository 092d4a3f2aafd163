"""What a VM printed, read back; proxies and pulls judged by what is known of them."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmreg import probes, store
from vmreg.accesslog import EdgeRecord
from vmreg.engine import Finished
from vmreg.errors import VmregError
from vmreg.vms import proof, proxies, symptoms
from vmreg.vms.doctor import last_words
from vmreg.vms.symptoms import HOSTS_FILES, Reach, Store, Way

if TYPE_CHECKING:
    from pathlib import Path

INFO = {
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "DockerRootDir": "/data",
    "RegistryConfig": {
        "Mirrors": ["http://h:1/"],
        "IndexConfigs": {"docker.io": {"Secure": True}, "h:1": {"Secure": False}},
    },
    "HttpProxy": "http://p:1",
    "NoProxy": "localhost",
}
DF = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 40 60 40% /data"


def line(key: str, text: str, *, status: int = 0) -> str:
    return f"{key} {status} {base64.b64encode(text.encode()).decode()}"


def facts(*lines: str) -> symptoms.Facts:
    return symptoms.parse("\n".join(lines))


def test_all_that_a_vm_says_is_understood() -> None:
    found = facts(
        line("clock", "1000\n"),
        line("version", "WARNING: no limits\n20.10.24 arm64"),
        line("info", f"WARNING: no swap\n{json.dumps(INFO)}"),
        line("address", "172.17.0.1 STREAM host.docker.internal\n172.17.0.1 DGRAM"),
        line("daemon", '{"registry-mirrors": ["http://h:1/"]}'),
        line(HOSTS_FILES[1], "server = 1"),
        line("space", DF),
        line("inodes", DF),
        line("write", ""),
    )
    assert found.daemon == symptoms.Daemon(
        version="20.10.24",
        architecture="arm64",
        store=Store.CLASSIC,
        driver="overlay2",
        mirrors=("http://h:1",),
        insecure=("h:1",),
        proxy="http://p:1",
        no_proxy="localhost",
        root="/data",
    )
    assert (found.clock_s, found.addresses) == (1000.0, ("172.17.0.1",))
    assert found.configured_mirrors() == ("http://h:1",)
    assert (found.hosts_path, found.hosts_text) == (HOSTS_FILES[1], "server = 1")
    assert found.disk == symptoms.Disk(root="/data", free_bytes=61_440, free_inodes=60, refusal="")


def test_the_containerd_store_is_told_by_its_snapshotter() -> None:
    info = {**INFO, "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    found = facts(line("version", "28.5.2 amd64"), line("info", json.dumps(info)))
    assert found.daemon is not None
    assert found.daemon.store is Store.CONTAINERD


@pytest.mark.parametrize(
    ("lines", "silence", "has_docker"),
    [
        ([], "docker was not asked", True),
        ([line("version", "x\nCannot connect", status=1)], "Cannot connect", True),
        ([line("version", "", status=124)], "no answer in 8 s", True),
        ([line("version", "not found", status=127)], "not found", False),
        (
            [line("version", "28.5.2 amd64"), line("info", "{}")],
            "its answer was not understood",
            True,
        ),
        (
            [line("version", ""), line("info", json.dumps(INFO))],
            "its answer was not understood",
            True,
        ),
    ],
)
def test_a_daemon_that_gives_no_answer(lines: list[str], silence: str, has_docker: bool) -> None:  # noqa: FBT001 - a parameter of the test
    found = facts(*lines)
    assert (found.daemon, found.silence, found.has_docker) == (None, silence, has_docker)


def test_a_daemon_that_hangs_is_told_from_one_that_is_gone() -> None:
    assert facts(line("version", "", status=124)).hung
    assert not facts(line("version", "Cannot connect", status=1)).hung


START = 'time="1" level=info msg="Starting up"'
FAILED = "failed to start daemon: no space"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([START, FAILED, "vm: dockerd ended"], FAILED),
        ([FAILED, START, "Daemon shutdown complete"], ""),
        (["unable to configure the Docker daemon: a", START], ""),
        ([START, "level=fatal msg=b", FAILED, "c"], FAILED),
        (
            [START, "unable to configure the Docker daemon: a"],
            "unable to configure the Docker daemon: a",
        ),
        ([], ""),
    ],
)
def test_only_what_followed_the_last_start_is_the_cause(lines: list[str], said: str) -> None:
    assert last_words("\n".join(lines)) == said


def test_a_file_that_cannot_be_read_is_told_from_one_that_is_absent() -> None:
    unreadable = facts(line("daemon", "cat: Is a directory", status=1))
    assert unreadable.settings_trouble == "cat: Is a directory"
    with pytest.raises(VmregError, match="cannot be read"):
        unreadable.configured_mirrors()
    assert facts().configured_mirrors() == ()


@pytest.mark.parametrize("text", ["9" * 400, "9" * 5000, "[" * 100_000])
def test_what_is_endless_is_not_known(text: str) -> None:
    found = facts(
        line("clock", text),
        line("version", f"{text} amd64"),
        line("info", f'{{"a": {text}'),
        line("space", f"x\nd {text} {text} {text}"),
    )
    assert (found.clock_s, found.daemon, found.disk.free_bytes) == (None, None, None)
    assert not proxies.goes_around(f"host:{text}", "host", 5000)
    assert symptoms.way_of(0, f"connected\nHTTP/1.0 {text} x\r\n\r\n", "", asked=True).status == 0


def test_a_disk_that_refuses_or_counts_no_files() -> None:
    uncounted = DF.replace("100 40 60", "0 0 0")
    found = facts(line("inodes", uncounted), line("write", "head: No space", status=1)).disk
    assert (found.free_inodes, found.free_bytes, found.refusal) == (None, None, "head: No space")
    assert facts(line("write", "", status=1)).disk.refusal == "it failed"


@given(text=st.text())
def test_nothing_that_a_vm_prints_raises(text: str) -> None:
    lines = (line(key, text) for key in ("clock", "version", "info", "address", "space", "write"))
    found = facts(text, *lines, line("daemon", text))
    assert found.daemon is None
    try:
        found.configured_mirrors()
    except VmregError:
        return


@pytest.mark.parametrize(
    ("code", "output", "errors", "way"),
    [
        (124, "", "", Way.DROPPED),
        (1, "", "bash: connect: Connection refused", Way.REFUSED),
        (1, "", "bash: connect: Connection timed out", Way.DROPPED),
        (1, "", "bash: connect: No route to host", Way.NO_ROUTE),
        (1, "", "bash: connect: Network is unreachable", Way.NO_ROUTE),
        (1, "", "bash: h: Name or service not known", Way.UNKNOWN),
        (124, "connected\n", "", Way.SILENT),
        (0, "connected\n", "", Way.SILENT),
        (0, "connected\nSSH-2.0-x\r\n", "", Way.ANSWERED),
    ],
)
def test_how_a_connection_fails_is_told(code: int, output: str, errors: str, way: Way) -> None:
    assert symptoms.way_of(code, output, errors, asked=True).way is way


def test_an_answer_is_taken_apart() -> None:
    answer = "connected\nHTTP/1.1 403 Forbidden\r\nA: b\r\n\r\nno\r\n\r\nway"
    assert symptoms.way_of(0, answer, "", asked=True) == Reach(
        way=Way.ANSWERED, status=403, body="no\r\n\r\nway"
    )
    assert symptoms.way_of(0, "", "", asked=False).way is Way.ANSWERED


@pytest.mark.parametrize(
    ("no_proxy", "around"),
    [
        ("", False),
        ("*", True),
        ("localhost, host.docker.internal", True),
        ("HOST.DOCKER.INTERNAL", True),
        ("docker.internal", True),
        (".docker.internal", True),
        ("*.docker.internal", True),
        (".host.docker.internal", False),
        ("ocker.internal", False),
        ("172.17.0.0/16", False),
        ("host.docker.internal:5000", True),
        ("host.docker.internal:80", False),
        ("*:80", False),
    ],
)
def test_whom_a_proxy_is_not_asked_for(no_proxy: str, around: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert proxies.goes_around(no_proxy, "host.docker.internal", 5000) == around


@pytest.mark.parametrize(
    ("proxy", "address"),
    [
        ("http://10.0.0.1:3128/", ("10.0.0.1", 3128)),
        ("https://p", ("p", 443)),
        ("p:1", ("p", 1)),
        ("http://u:x@[::1]:8", ("::1", 8)),
        ("http://p:x", None),
        ("ftp://p", None),
    ],
)
def test_where_a_proxy_is(proxy: str, address: tuple[str, int] | None) -> None:
    assert proxies.address_of(proxy) == address


PROBE = probes.fresh()
BASE = f"/v2/{store.PROBE_REPOSITORY}"
MANIFEST, CONFIG, LAYER = PROBE.sizes_bytes
WHOLE = sum(PROBE.sizes_bytes.values())


def request(uri: str, sent_bytes: int, *, method: str = "GET", status: int = 200) -> EdgeRecord:
    return EdgeRecord(
        time=0,
        client="172.18.0.1",
        method=method,
        uri=f"{BASE}/{uri}",
        status=status,
        sent_bytes=sent_bytes,
        request_s=0,
        first_byte_s=None,
        source="disk",
        cache="",
        agent="",
        range="",
    )


def classic_pull() -> list[EdgeRecord]:
    sizes = PROBE.sizes_bytes
    return [
        request(f"manifests/{PROBE.tag}", sizes[MANIFEST]),
        request(f"blobs/{CONFIG}", sizes[CONFIG]),
        request(f"blobs/{LAYER}", sizes[LAYER]),
    ]


def judged(exit_code: int, records: list[EdgeRecord], errors: str = "") -> tuple[str, str]:
    done = Finished(exit_code=exit_code, output="", errors=errors)
    found = proof.verdict(done, proof.trace(records, PROBE), name="shop")
    return found.status, found.summary


def test_a_pull_that_is_all_in_the_log_is_the_proof() -> None:
    modern = [
        request(f"manifests/{PROBE.tag}", 0, method="HEAD"),
        request(f"manifests/{MANIFEST}", PROBE.sizes_bytes[MANIFEST]),
        *classic_pull()[1:],
    ]
    for records in (classic_pull(), modern, [*classic_pull(), *modern]):
        status, summary = judged(0, records)
        assert status == "ok"
        assert f"{WHOLE} of {WHOLE} bytes" in summary


def test_a_pull_that_is_not_all_in_the_log_is_none() -> None:
    for number in range(3):
        assert judged(0, classic_pull()[:number])[0] == "fail"
    short = [request(f"blobs/{LAYER}", PROBE.sizes_bytes[LAYER] - 1), *classic_pull()[:2]]
    assert judged(0, short)[0] == "fail"
    stranger = probes.fresh()
    others = [request(f"manifests/{stranger.tag}", 9), request(f"blobs/{store.digest_of(b'')}", 9)]
    assert "did not ask the cache" in judged(1, others, errors="no such host")[1]


def test_a_failed_pull_says_what_the_cache_answered() -> None:
    records = [request(f"manifests/{PROBE.tag}", 0, method="HEAD", status=404)]
    assert judged(1, records, errors="not found") == (
        "fail",
        "the cache was asked for a fresh image and answered 404, and the pull failed: not found",
    )
    assert "no end within 30 s" in judged(124, [])[1]


def test_only_old_probes_are_removed_from_a_vm() -> None:
    old, name = f"fresh-1000000000-{'0' * 32}", store.PROBE_REPOSITORY
    listed = [
        f"{name}:{old}",
        f"{name}:{PROBE.tag}",
        f"{name}:kept",
        f"other:{old}",
        "<none>:<none>",
    ]
    assert proof.left_over("\n".join(listed)) == (f"docker.io/{name}:{old}",)


def test_a_cache_is_one_s_own_when_its_files_are(tmp_path: Path) -> None:
    assert not proof.may_write(tmp_path)
    (tmp_path / "data").mkdir()
    assert proof.may_write(tmp_path)


def test_every_probe_is_another_one_that_only_docker_hub_s_mirrors_are_asked_for() -> None:
    one, other = probes.fresh(), probes.fresh(architecture="arm64")
    assert one.tag != other.tag
    assert not one.sizes_bytes.keys() & other.sizes_bytes.keys()
    assert json.loads(other.image.config)["architecture"] == "arm64"
    # A first part with a dot would be taken for a registry's host.
    assert re.fullmatch(r"docker\.io/[a-z]+/[a-z./]+:[A-Za-z0-9-]+", one.reference)
