"""What a VM needs, worked out from one look at it, before anything in it is touched."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from vmreg.engine import Finished
from vmreg.errors import UsageError, VmregError
from vmreg.vms import clients, provision, reconcile, restarting, survey
from vmreg.vms.files import File
from vmreg.vms.image import release
from vmreg.vms.provider import DAEMON_JSON

if TYPE_CHECKING:
    from collections.abc import Sequence

MIRROR = "http://host.docker.internal:5000"
WANTED = reconcile.Wanted(mirror=MIRROR, ours=frozenset({"host.docker.internal"}))
NONE = replace(WANTED, mirror=None)
COMPANY = '[host."https://mirror.example"]\n'
DAEMON = survey.Daemon(
    version="28.5.2+dfsg4",
    mirrors=(),
    snapshotter=True,
    proxies={"http": "", "https": ""},
    no_proxy="",
    live_restore=False,
    running=0,
    swarm=False,
    flagged=False,
)


def found(daemon: survey.Daemon | None = DAEMON, *tools: str, **texts: str) -> survey.Found:
    """Return a look; files are named by what survey calls them."""
    paths = {getattr(survey, name, DAEMON_JSON): text for name, text in texts.items()}
    return survey.Found(
        files={path: File(path=path, text=text) for path, text in paths.items()},
        tools=frozenset(tools),
        root="/root",
        address="172.17.0.1",
        daemon=daemon,
    )


def changed(look: survey.Found, wanted: reconcile.Wanted = WANTED) -> dict[str, str | None]:
    return {one.file.path: one.file.text for one in reconcile.file_changes(look, wanted)}


def test_a_new_vm_whose_dockerd_has_its_mirror_needs_no_change() -> None:
    settings = json.dumps(provision.with_mirror({"debug": True}, MIRROR))
    look = found(replace(DAEMON, mirrors=(MIRROR,)), DAEMON_JSON=settings)

    assert reconcile.daemon_change(look, WANTED) is None
    assert changed(look) == {}


@pytest.mark.parametrize("version", ["20.10.24", "26.1.5", "28.5.2"])
def test_a_new_vm_of_every_release_starts_with_all_that_its_dockerd_needs(version: str) -> None:
    more = release(".".join(version.split(".")[:2])).settings(MIRROR)
    settings = json.dumps(provision.initial_settings(mirror=MIRROR, more=more))
    look = found(replace(DAEMON, version=version, mirrors=(MIRROR,)), DAEMON_JSON=settings)

    assert reconcile.daemon_change(look, WANTED) is None


def test_a_mirror_that_is_not_loaded_is_a_change() -> None:
    settings = json.dumps(provision.with_mirror({}, MIRROR))

    change = reconcile.daemon_change(found(DAEMON_JSON=settings), WANTED)

    assert change is not None
    assert change.why_restart == ""


@pytest.mark.parametrize(
    ("version", "restarts", "insecure"),
    [("20.10.24", True, True), ("24.0.9", True, True), ("26.1.5", False, True),
     ("28.5.2", False, False), ("29.0", False, False)],
)  # fmt: skip
def test_an_old_dockerd_is_restarted_and_told_that_the_mirror_speaks_http(
    version: str,
    restarts: bool,  # noqa: FBT001 - pytest gives it
    insecure: bool,  # noqa: FBT001 - as above
) -> None:
    look = found(replace(DAEMON, version=version), DAEMON_JSON='{"debug": true}')

    change = reconcile.daemon_change(look, WANTED)

    assert change is not None
    assert ("BuildKit" in change.why_restart) == restarts
    expected = {"debug": True, provision.MIRRORS: [MIRROR]}
    assert change.settings == ({**expected, provision.INSECURE: [MIRROR]} if insecure else expected)


def test_taking_the_mirror_out_keeps_what_is_not_ours() -> None:
    before = {"insecure-registries": ["r.example:5000"], "registry-mirrors": ["http://m.example"]}
    old = replace(DAEMON, version="20.10.24", mirrors=("http://m.example",))
    given = reconcile.daemon_change(found(old, DAEMON_JSON=json.dumps(before)), WANTED)
    assert given is not None
    using = replace(old, mirrors=(MIRROR, "http://m.example"))

    taken = reconcile.daemon_change(found(using, DAEMON_JSON=json.dumps(given.settings)), NONE)

    assert taken is not None
    assert taken.settings == before


@pytest.mark.parametrize(
    ("daemon", "no_proxy"),
    [
        (replace(DAEMON, proxies={"http": "http://p:1"}), "host.docker.internal"),
        (replace(DAEMON, proxies={"http": "p"}, no_proxy="a,b"), "a,b,host.docker.internal"),
        (replace(DAEMON, proxies={"http": "p"}, no_proxy=".docker.internal"), None),
        (replace(DAEMON, proxies={"https": "p"}), None),
        (replace(DAEMON, proxies={"http": "p"}, version="20.10.24"), None),
    ],
)
def test_a_proxy_leaves_the_mirror_alone(daemon: survey.Daemon, no_proxy: str | None) -> None:
    change = reconcile.daemon_change(found(daemon), WANTED)

    assert change is not None
    assert change.settings.get("proxies") == ({"no-proxy": no_proxy} if no_proxy else None)
    assert ("proxies" in change.why_restart) == bool(no_proxy)


def test_a_proxy_that_is_right_in_the_file_alone_still_needs_the_restart() -> None:
    settings = {
        "proxies": {"http-proxy": "p", "no-proxy": "host.docker.internal"},
        provision.MIRRORS: [MIRROR],
    }
    daemon = replace(DAEMON, mirrors=(MIRROR,), proxies={"http": "p"})

    change = reconcile.daemon_change(found(daemon, DAEMON_JSON=json.dumps(settings)), WANTED)

    assert change is not None
    assert change.settings == settings
    assert change.why_restart


@pytest.mark.parametrize(
    "before", [{"debug": True}, {"live-restore": True}, {provision.MIRRORS: ["http://a.example"]}]
)
@pytest.mark.parametrize("wanted", [WANTED, NONE])
def test_what_a_restart_that_was_cut_short_left_is_undone(
    before: dict[str, object], wanted: reconcile.Wanted
) -> None:
    listed = [MIRROR, *provision.mirrors(before), restarting.PROOF]
    left = {**before, "live-restore": True, provision.MIRRORS: listed}
    texts = {"DAEMON_JSON": json.dumps(left), "MARKER": json.dumps(before)}

    change = reconcile.daemon_change(found(replace(DAEMON, mirrors=(MIRROR,)), **texts), wanted)

    assert change is not None
    mirrored = provision.with_mirror(before, MIRROR) if wanted.mirror else before
    assert change.settings == mirrored
    assert change.why_restart == "an earlier restart was cut short"
    assert json.loads(change.old.text or "") == provision.with_mirror(before, MIRROR)


def test_a_proof_without_a_marker_is_taken_out_too() -> None:
    text = json.dumps({provision.MIRRORS: [restarting.PROOF, restarting.PROOF]})

    change = reconcile.daemon_change(found(DAEMON_JSON=text), NONE)

    assert change is not None
    assert change.settings == {}
    assert change.why_restart == ""


def test_a_marker_that_is_not_valid_is_named() -> None:
    with pytest.raises(VmregError, match=f"^{survey.MARKER} in the VM is not valid JSON"):
        reconcile.daemon_change(found(MARKER="{"), WANTED)


@pytest.mark.parametrize(
    ("settings", "changes", "lent"),
    [
        ({}, {"running": 1}, True),
        ({}, {"running": 0}, False),
        ({}, {"running": 1, "live_restore": True}, True),
        ({"live-restore": False}, {"running": 1, "live_restore": True}, True),
        ({"live-restore": True}, {"running": 1, "live_restore": True}, False),
        ({"live-restore": True}, {"running": 1}, True),
        ({}, {"running": 1, "live_restore": True, "flagged": True}, False),
    ],
)
def test_a_restart_lends_dockerd_what_its_next_start_would_not_have(
    settings: dict[str, object],
    changes: dict[str, Any],
    lent: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    given = restarting.lent_by(settings, replace(DAEMON, **changes))

    assert given == ({"live-restore": True} if lent else {})


@pytest.mark.parametrize(
    ("daemon", "text"),
    [
        (replace(DAEMON, snapshotter=False), COMPANY),
        (DAEMON, 'server = "https://registry-1.docker.io"\n'),
        (None, COMPANY),
    ],
)
def test_a_hosts_file_that_hides_no_mirror_is_left_alone(
    daemon: survey.Daemon | None, text: str
) -> None:
    assert changed(found(daemon, DOCKER_HOSTS=text)) == {}


def test_a_hosts_file_that_hides_the_mirror_gets_it() -> None:
    new = changed(found(DOCKER_HOSTS=COMPANY))[survey.DOCKER_HOSTS]

    assert new is not None
    assert clients.hosts(new, "") == (MIRROR, "https://mirror.example")
    assert changed(found(DOCKER_HOSTS=new), NONE) == {survey.DOCKER_HOSTS: COMPANY}


def test_a_hosts_file_for_all_registries_never_names_the_mirror_of_one() -> None:
    new = changed(found(DEFAULT_HOSTS=COMPANY))

    text = new[survey.DOCKER_HOSTS]
    assert set(new) == {survey.DOCKER_HOSTS}
    assert text is not None
    assert clients.hosts(text, "") == (MIRROR, "https://mirror.example")
    assert changed(found(DEFAULT_HOSTS=COMPANY, DOCKER_HOSTS=text)) == {}
    gone = {survey.DOCKER_HOSTS: None}
    assert changed(found(DEFAULT_HOSTS=COMPANY, DOCKER_HOSTS=text), NONE) == gone
    assert changed(found(DOCKER_HOSTS=text)) == gone


def test_a_folder_hides_the_hosts_file_for_all_registries() -> None:
    assert changed(found(DAEMON, survey.HUB_FOLDER, DEFAULT_HOSTS=COMPANY)) == {}


def test_containerds_hosts_file_gets_the_mirror_when_it_is_there() -> None:
    new = changed(found(None, CONTAINERD_HOSTS='server = "https://registry-1.docker.io"\n'))

    assert list(new) == [survey.CONTAINERD_HOSTS]
    assert clients.hosts(new[survey.CONTAINERD_HOSTS] or "", "") == (MIRROR,)


def test_builders_get_an_address_and_buildkitd_a_name() -> None:
    look = found(DAEMON, "buildx", "buildkitd", BUILDKITD="debug = true\n")

    new = changed(look)

    assert '"172.17.0.1:5000"' in (new["/root/.docker/buildx/buildkitd.default.toml"] or "")
    assert '"host.docker.internal:5000"' in (new[survey.BUILDKITD] or "")
    after = replace(look, files={path: File(path=path, text=text) for path, text in new.items()})
    assert changed(after) == {}
    assert changed(after, NONE) == {
        "/root/.docker/buildx/buildkitd.default.toml": None,
        survey.BUILDKITD: "debug = true\n",
    }


def test_podmans_file_comes_and_goes() -> None:
    new = changed(found(None, "podman"))

    assert list(new) == [survey.PODMAN_OURS]
    after = found(None, "podman", PODMAN_OURS=new[survey.PODMAN_OURS] or "")
    assert changed(after) == {}
    assert changed(after, NONE) == {survey.PODMAN_OURS: None}
    assert changed(found(None, PODMAN_OURS="left by a podman that is gone")) == {
        survey.PODMAN_OURS: None
    }


@dataclass
class Told:
    """A VM that answers every command alike, and keeps what it was told."""

    answer: Finished
    told: list[Sequence[str]] = field(default_factory=list)

    def exec(self, argv: Sequence[str]) -> Finished:
        self.told.append(argv)
        return self.answer

    def put_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        raise AssertionError((path, content, mode))

    def daemon_log(self, *, tail: int = 20) -> str:
        return f"the last {tail} lines"


def rows(*lines: str) -> Finished:
    return Finished(exit_code=0, output="".join(f"{line}\n" for line in lines), errors="")


def row(path: str, text: bytes) -> str:
    return f"file\t{path}\t{path}\t{base64.b64encode(text).decode()}"


def test_a_vm_without_anything_that_pulls_costs_one_look() -> None:
    vm = Told(rows("root\t/root"))

    assert reconcile.provision(vm, MIRROR) == ()
    assert reconcile.provision(vm, None) == ()
    assert len(vm.told) == 2


def test_a_dockerd_that_should_run_and_does_not_answer_is_an_error() -> None:
    vm = Told(rows("root\t/root", "has\tdockerd"))

    with pytest.raises(VmregError, match="dockerd does not answer") as caught:
        reconcile.provision(vm, MIRROR)

    assert caught.value.details == "the last 20 lines"
    assert DAEMON_JSON in caught.value.resolution


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_changed() -> None:
    large = f"debug = true\n{'# long' * 20_000}\n".encode()
    vm = Told(rows("root\t/root", "has\tbuildkitd", row(survey.BUILDKITD, large)))

    with pytest.raises(VmregError, match="in the VM is too large: 1200"):
        reconcile.provision(vm, MIRROR)

    assert len(vm.told) == 1


def test_what_is_no_file_is_named() -> None:
    vm = Told(rows("root\t/root", f"odd\t{DAEMON_JSON}"))

    with pytest.raises(VmregError, match=f"^{DAEMON_JSON} in the VM is not a file"):
        reconcile.provision(vm, MIRROR)


def test_what_is_no_mirror_is_refused_before_the_vm_is_touched() -> None:
    vm = Told(rows())

    with pytest.raises(UsageError):
        reconcile.provision(vm, "host:5000")

    assert vm.told == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (survey.CONTAINERD_HOSTS, b"[host"),
        (survey.CONTAINERD_HOSTS, b"\xff"),
        (survey.PODMAN_MAIN, b"= 1"),
        ("/root/.docker/buildx/buildkitd.default.toml", b"a"),
    ],
)
def test_a_file_that_is_not_valid_is_named_and_nothing_is_written(path: str, text: bytes) -> None:
    vm = Told(rows("root\t/root", row(path, text), "has\tpodman", "has\tbuildx"))

    with pytest.raises(VmregError) as caught:
        reconcile.provision(vm, MIRROR)

    assert caught.value.brief.startswith(f"{path} in the VM is not ")
    assert caught.value.resolution == "Correct or remove it; nothing was changed."
    assert len(vm.told) == 1
