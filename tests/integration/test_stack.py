"""The stack's life on a real engine: start, change, heal, stop."""

from __future__ import annotations

import http.server
import os
import socketserver
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import ACCOUNT
from tests.integration.edge import Edge
from vmreg import ports, serving, status, waiting
from vmreg.engine import ContainerSpec, Engine
from vmreg.errors import HostError, VmregError
from vmreg.stack import Stack, owner
from vmreg.store import blob_path, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.hub import Hub
    from tests.integration.conftest import Registry
    from vmreg.engine import Container


def container(registry: Registry, role: str) -> Container:
    found = registry.stack.container(role)
    assert found is not None
    return found


def reconfigured(registry: Registry, **changes: object) -> Stack:
    """The same instance with other registry settings."""
    settings = registry.stack.settings
    changed = replace(settings.registry, **changes)  # type: ignore[arg-type]  # checked at run time
    return Stack(registry.stack.engine, replace(settings, registry=changed))


def test_a_second_start_changes_nothing(registry: Registry) -> None:
    before = container(registry, "proxy"), container(registry, "storage")
    done = registry.stack.start()
    assert done.actions == ()
    assert (container(registry, "proxy").id, container(registry, "storage").id) == (
        before[0].id,
        before[1].id,
    )


def test_concurrent_starts_make_one_cache(registry: Registry) -> None:
    registry.stack.stop()
    actions: list[tuple[str, ...]] = []

    def start() -> None:
        stack = Stack(registry.stack.engine, registry.stack.settings)
        actions.append(stack.start().actions)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(one) for one in actions) == [0, 0, 0, 2]


def test_a_changed_setting_recreates_only_what_it_touches(registry: Registry) -> None:
    storage = container(registry, "storage").id
    changed = reconfigured(registry, fetch_size=5_000_000_000)
    done = changed.start()
    assert [one for one in done.actions if "configuration changed" in one]
    assert len(done.actions) == 1
    assert container(registry, "storage").id == storage
    assert registry.stack.start().actions  # and back again


def test_a_configuration_that_nginx_refuses_leaves_the_old_one_serving(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = container(registry, "proxy").id
    monkeypatch.setattr("vmreg.plan.SLICE", "2 bananas")
    with pytest.raises(VmregError, match="nginx refuses"):
        registry.stack.start()
    assert container(registry, "proxy").id == before
    assert serving.fault("127.0.0.1", registry.edge.port) == ""


def test_a_new_container_that_does_not_serve_gives_way_to_the_old_one(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = container(registry, "storage").id
    monkeypatch.setattr("vmreg.stack.HEALTHY_TIMEOUT_S", 2)
    original = registry.stack.wanted

    def broken(**options: object) -> tuple[object, ...]:
        proxy, storage = original(**options)  # type: ignore[arg-type]  # whatever the caller gave
        spec = replace(
            storage.spec,
            command=("sleep", "60"),
            labels={**storage.spec.labels, "vmreg.config": "broken"},
        )
        return proxy, replace(storage, spec=spec, digest="broken")

    monkeypatch.setattr(registry.stack, "wanted", broken)
    with pytest.raises(VmregError, match="did not happen within") as failure:
        registry.stack.start()
    assert "storage is" in failure.value.details
    assert container(registry, "storage").id == before
    waiting.until(
        lambda: True if serving.fault("127.0.0.1", registry.edge.port) == "" else None,
        what="the old storage",
        timeout_s=10,
    )


def test_a_taken_port_names_its_holder(make_registry: Callable[..., Registry]) -> None:
    first = make_registry()
    with pytest.raises(HostError) as failure:
        make_registry(port=str(first.edge.port))
    assert first.stack.settings.proxy_name in failure.value.brief


def test_it_listens_on_loopback_and_the_bridge_alone(registry: Registry, engine: Engine) -> None:
    found = ports.listeners(registry.edge.port)
    assert found == {"127.0.0.1", engine.bridge_gateway()}


def test_it_runs_with_no_privilege(registry: Registry) -> None:
    for role in ("proxy", "storage"):
        done = registry.stack.engine.exec(
            container(registry, role).id, ["sh", "-c", "id -u; grep CapEff /proc/1/status; : >/x"]
        )
        user, capabilities = done.output.split("\n")[:2]
        assert int(user) == owner()[0] != 0
        assert capabilities.split()[1] == "0000000000000000"
        assert "Read-only file system" in done.errors


def test_the_host_itself_is_not_let_in_to_the_egress(registry: Registry) -> None:
    inside = f"{registry.stack.settings.network_name}-inside"
    address = container(registry, "proxy").addresses[inside]
    assert Edge(port=5001, address=address).ask("/token?scope=x").status == 403


def test_a_stranger_of_our_name_is_left_alone(
    make_registry: Callable[..., Registry], registry: Registry, engine: Engine
) -> None:
    name = f"test-stranger-{os.getpid()}"
    other = Engine.connect(owner="test-somebody")
    image = container(registry, "proxy").image
    spec = ContainerSpec(name=f"{name}-proxy", image=image, command=("sleep", "60"))
    made = other.run(spec)
    try:
        with pytest.raises(HostError, match="is not ours"):
            make_registry(instance=name)
        assert other.inspect(made.id).running
        assert engine.find(f"{name}-storage") is None
    finally:
        other.remove(made.id)
        other.close()


def test_a_vm_of_our_name_keeps_its_disk(
    make_registry: Callable[..., Registry], registry: Registry, engine: Engine
) -> None:
    name = f"test-vm-{os.getpid()}"
    image = container(registry, "proxy").image
    labels = {"vmreg.vm": "proxy"}
    made = engine.run(
        ContainerSpec(name=f"{name}-proxy", image=image, command=("sleep", "60"), labels=labels)
    )
    with pytest.raises(HostError, match="is not ours"):
        make_registry(instance=name)
    assert engine.inspect(made.id).running
    engine.remove(made.id)


def test_the_cache_of_another_folder_keeps_its_containers(
    registry: Registry, engine: Engine, tmp_path: Path
) -> None:
    elsewhere = replace(registry.stack.settings, home=tmp_path / "another home")
    other = Stack(engine, elsewhere)
    for act in (other.start, other.stop):
        with pytest.raises(HostError, match="belongs to another cache") as refused:
            act()
        assert str(registry.stack.state) in refused.value.details
    assert container(registry, "proxy").running
    assert container(registry, "storage").running


def test_clients_cannot_write_or_reach_the_inside(registry: Registry) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert registry.edge.ask("/v2/library/node/blobs/uploads/", method=method).status == 405
    assert registry.edge.ask("/_upstream").status == 404
    assert registry.edge.ask("/v2/_catalog").status == 404
    assert registry.edge.ask("/v2/library/node/manifests/20?ns=ghcr.io").status == 404


def test_storage_reaches_nothing_but_the_egress(registry: Registry) -> None:
    hub = registry.stack.settings.registry.upstream.network
    found = container(registry, "storage")
    assert hub not in found.addresses
    assert list(found.addresses) == [f"{registry.stack.settings.network_name}-inside"]
    done = registry.stack.engine.exec(
        found.id, ["wget", "-q", "-T", "2", "-t", "1", "-O", "/dev/null", "http://192.0.2.1/"]
    )
    assert done.exit_code != 0


def test_it_starts_and_serves_without_an_upstream(registry: Registry) -> None:
    registry.edge.pull("library/node:20")
    registry.stack.stop()
    (registry.stack.state / "data" / "scheduler-state.json").write_bytes(b"")
    alone = reconfigured(
        registry,
        upstream=replace(registry.stack.settings.registry.upstream, network=""),
    )
    alone.start()
    assert registry.edge.pull("library/node:20")
    assert status.read(alone).upstream.reachable is False


def test_a_killed_storage_comes_back_and_heals_a_torn_state_file(registry: Registry) -> None:
    registry.edge.pull("library/node:20")
    (registry.stack.state / "data" / "scheduler-state.json").write_bytes(b"\0" * 100)
    before = container(registry, "storage")
    registry.stack.engine.exec(before.id, ["sh", "-c", "kill -9 $(cat /tmp/main.pid)"])

    def back() -> bool | None:
        found = container(registry, "storage")
        again = found.running and found.restarts > before.restarts
        return True if again and not serving.fault("127.0.0.1", registry.edge.port) else None

    waiting.until(back, what="the restart of storage", timeout_s=30)
    assert registry.edge.pull("library/node:20")


def test_a_hung_proxy_is_ended_and_started_again(registry: Registry) -> None:
    found = container(registry, "proxy")
    stop_workers = "kill -STOP $(cat /proc/$(cat /tmp/main.pid)/task/*/children)"
    registry.stack.engine.exec(found.id, ["sh", "-c", stop_workers])
    assert serving.fault("127.0.0.1", registry.edge.port, timeout_s=1)

    def healed() -> bool | None:
        return None if serving.fault("127.0.0.1", registry.edge.port, timeout_s=1) else True

    waiting.until(healed, what="the end of the hang", timeout_s=90, interval_s=0.5)
    assert container(registry, "proxy").restarts == 1


def test_stop_lets_a_transfer_finish_and_keeps_the_data(
    registry: Registry, healthy_hub: Hub
) -> None:
    healthy_hub.set_bandwidth(2_000_000)
    digest = max(healthy_hub.images["library/node:20"].blobs, key=lambda one: one.size).digest
    pulled: list[str] = []
    thread = threading.Thread(
        target=lambda: pulled.append(digest_of(registry.edge.blob("library/node", digest).body))
    )
    thread.start()
    time.sleep(0.7)
    assert registry.stack.stop() is True
    thread.join()
    assert pulled == [digest]
    assert registry.stack.stop() is False
    assert registry.stack.container("proxy") is None
    assert (registry.stack.state / "data").is_dir()


@pytest.mark.parametrize("replaced", [False, True])
def test_an_interrupted_replacement_is_undone_by_the_next_start(
    registry: Registry,
    replaced: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    engine, name = registry.stack.engine, registry.stack.settings.proxy_name
    before = container(registry, "proxy")
    engine.stop(name, timeout_s=5)
    engine.rename(name, name + "-previous")
    if replaced:  # by one that never came to serve
        labels = {**before.labels, "vmreg.config": "unproven"}
        engine.run(
            ContainerSpec(name=name, image=before.image, command=("sleep", "60"), labels=labels)
        )
    registry.stack.start()
    assert engine.find(name + "-previous") is None
    assert container(registry, "proxy").labels == before.labels
    assert serving.fault("127.0.0.1", registry.edge.port) == ""


def test_an_address_of_another_host_is_refused(make_registry: Callable[..., Registry]) -> None:
    with pytest.raises(HostError, match="not an address of this host"):
        make_registry(bind="192.0.2.7")


def test_an_account_opens_its_private_images_to_the_listed_repositories_alone(
    make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(ACCOUNT[1])
    secret.chmod(0o600)
    registry = make_registry(
        credentials__username=ACCOUNT[0],
        credentials__password_file=str(secret),
        repositories="acme/*",
    )

    assert registry.edge.pull("acme/private:latest")
    assert registry.edge.manifest("library/node", "20").status == 404
    assert make_registry().edge.manifest("acme/private", "latest").status == 404
    assert ACCOUNT[1] not in "".join(
        registry.stack.engine.logs(container(registry, role).id) for role in ("proxy", "storage")
    )


def test_a_blob_that_lands_while_storage_stumbles_is_served(
    registry: Registry, healthy_hub: Hub
) -> None:
    """Storage writes links in place, and answers 500 to whoever reads one that is half there."""
    content = healthy_hub.name.encode()
    digest = digest_of(content)
    registry.stack.engine.stop(container(registry, "storage").id, timeout_s=5)

    class Stumbling(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = blob_path(registry.stack.state / "data", digest)
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
            for made in (path, path.parent, path.parent.parent):
                os.chown(made, *owner())
            self.send_error(500)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    address = registry.stack.state / "run" / "storage.sock"
    address.unlink(missing_ok=True)
    with socketserver.UnixStreamServer(str(address), Stumbling) as server:
        address.chmod(0o777)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        answer = registry.edge.blob("library/node", digest)
        thread.join()

    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["docker-content-digest"] == digest
    assert registry.edge.blob("library/node", digest_of(b"absent")).status == 504
