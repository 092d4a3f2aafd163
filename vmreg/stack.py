"""The registry's two containers: start, stop and replace them without losing what runs."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmreg import draining, images, plan, ports, serving, store, waiting
from vmreg.errors import HostError, VmregError
from vmreg.locking import locked
from vmreg.ownership import refuse_strangers

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from vmreg.config import Settings
    from vmreg.engine import Container, Engine

UNPRIVILEGED = 65532
LOCK_TIMEOUT_S = 180
HEALTHY_TIMEOUT_S = 60
CHECK_TIMEOUT_S = 30
PREVIOUS = "-previous"


@dataclass(frozen=True, kw_only=True)
class Started:
    """What a start did.

    :param actions: one sentence for each thing that was changed; empty when all ran already.
    :param addresses: ``address:port`` for each place where the cache now listens.
    :param seconds: how long it took.
    """

    actions: tuple[str, ...]
    addresses: tuple[str, ...]
    seconds: float


class Stack:
    """The proxy and the storage of one instance on one engine."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """Name the engine and the settings; nothing happens yet."""
        self.engine = engine
        self.settings = settings
        self.state: Path = settings.state_dir

    def start(self, *, progress: Callable[[str], None] = lambda _: None) -> Started:
        """Bring both containers to what the settings say, and wait until they really serve.

        A second call changes nothing and takes well under a second. A configuration that nginx
        refuses, or a new container that does not come to serve, leaves the old ones running.

        :raises HostError: no engine, the port is taken, or an image cannot be had.
        :raises VmregError: the cache does not come to serve; the details hold the last log lines.
        """
        began = time.monotonic()
        self._make_folders()
        with self.locked():
            refuse_strangers(self.engine, self.names(), state=str(self.state))
            self._settle_leftovers()
            wanted = self.wanted(progress=progress)
            actions = self.actions(wanted)
            store.put_probe(self.state / "data", owner=self._owner_if_root())
            if actions:
                self._converge(wanted, progress)
            self._wait_serving()
        return Started(
            actions=tuple(actions.values()),
            addresses=tuple(f"{address}:{self.settings.registry.port}" for address in self.bound()),
            seconds=time.monotonic() - began,
        )

    def stop(self, *, progress: Callable[[str], None] = lambda _: None) -> bool:
        """Let the transfers under way finish, then remove containers and networks; keep the data.

        :returns: whether anything ran. A second call is harmless.
        :raises HostError: a container of that name is not this cache's.
        """
        self._make_folders()
        with self.locked():
            refuse_strangers(self.engine, self.names(), state=str(self.state))
            found = [one for role in ("proxy", "storage") for one in self._of_role(role)]
            self._drain(progress)
            for container in found:
                progress(f"stopping {container.name}")
                self.engine.stop(container.id, timeout_s=plan.QUIT_S + 5)
                self.engine.remove(container.id)
            self.engine.remove_network(plan.inside_network(self.settings))
            self.engine.remove_network(self.settings.network_name)
        return any(container.running for container in found)

    def wanted(self, *, progress: Callable[[str], None] = lambda _: None) -> tuple[plan.Part, ...]:
        """Return the parts as they should be, having made sure of images and networks."""
        found = {
            role: images.ensure(
                self.engine,
                recipe=images.COMPONENTS,
                configured=configured,
                pinned=pinned,
                progress=progress,
            )
            for role, (configured, pinned) in self._choices().items()
        }
        labels = plan.labels(self.settings)
        self.engine.ensure_network(self.settings.network_name, labels=labels)
        self.engine.ensure_network(plan.inside_network(self.settings), labels=labels, internal=True)
        return plan.parts(self.settings, self._facts(), plan.Images(**found))

    def planned(self) -> tuple[plan.Part, ...] | None:
        """Return the parts as they should be, or ``None`` while an image or a network is missing.

        Nothing is made or changed.
        """
        found = {
            role: images.present(
                self.engine, recipe=images.COMPONENTS, configured=configured, pinned=pinned
            )
            for role, (configured, pinned) in self._choices().items()
        }
        if not all(found.values()):
            return None
        if not self.engine.network_subnets(plan.inside_network(self.settings)):
            return None
        return plan.parts(self.settings, self._facts(), plan.Images(**found))

    def actions(self, wanted: tuple[plan.Part, ...]) -> dict[str, str]:
        """Return what a start would do: role to a sentence; empty when all is as it should be."""
        found = {part.role: self._action(part) for part in wanted}
        return {role: sentence for role, sentence in found.items() if sentence}

    def container(self, role: str) -> Container | None:
        """Return the container of a role (``proxy`` or ``storage``), or ``None``."""
        name = getattr(self.settings, f"{role}_name")
        return next((one for one in self._of_role(role) if one.name == name), None)

    def bound(self) -> tuple[str, ...]:
        """Return the addresses that the edge is published on.

        :raises HostError: none is configured and the engine has no default bridge.
        """
        configured = self.settings.registry.bind
        return configured or ("127.0.0.1", self.engine.bridge_gateway())

    def locked(self) -> AbstractContextManager[None]:
        """Hold the state folder's lock, so that two commands never change it at once.

        :raises VmregError: another command holds it for too long.
        """
        return locked(self.state / "lock", timeout_s=LOCK_TIMEOUT_S)

    def _action(self, part: plan.Part) -> str:
        current = self.container(part.role)
        if current is None:
            return f"created {part.spec.name}"
        if current.labels.get(plan.CONFIG_LABEL) != part.digest:
            return f"recreated {part.spec.name}: its configuration changed"
        if not current.running:
            return f"recreated {part.spec.name}: it was {current.state}"
        return ""

    def _converge(self, wanted: tuple[plan.Part, ...], progress: Callable[[str], None]) -> None:
        """Replace what differs, checked beforehand, and go back if it does not come to serve."""
        changed = [part for part in wanted if self._action(part)]
        for part in changed:
            self._write_files(part)
        if any(part.role == "proxy" for part in changed):
            self._check_nginx(changed[0])
            self._check_port()
        self._drain(progress)
        try:
            for part in changed:
                progress(f"starting {part.spec.name}")
                self._replace(part)
            self._wait_serving()
        except BaseException:
            self._go_back(changed)
            raise
        for part in changed:
            self.engine.remove(part.spec.name + PREVIOUS)
        self._prune_files(wanted)

    def _drain(self, progress: Callable[[str], None]) -> None:
        proxy = self.container("proxy")
        if proxy is None or not proxy.running:
            return
        if not draining.drain(self.engine, proxy.id, timeout_s=plan.DRAIN_S):
            progress(f"transfers that last longer than {plan.DRAIN_S} s are cut off")

    def _replace(self, part: plan.Part) -> None:
        name = part.spec.name
        if self.engine.find(name) is not None:
            self.engine.stop(name, timeout_s=plan.QUIT_S + 5)
            self.engine.rename(name, name + PREVIOUS)
        made = self.engine.create(part.spec)
        if part.role == "proxy":
            inside = plan.inside_network(self.settings)
            self.engine.connect_network(inside, made.id, aliases=["egress"])
            if self.settings.registry.upstream.network:
                self.engine.connect_network(self.settings.registry.upstream.network, made.id)
        self.engine.start(made.id)

    def _go_back(self, changed: list[plan.Part]) -> None:
        """Remove what was begun and run again what ran before."""
        for part in changed:
            previous = self.engine.find(part.spec.name + PREVIOUS)
            if previous is None:
                if self._is_new(part):
                    self.engine.remove(part.spec.name)
                continue
            self.engine.remove(part.spec.name)
            self.engine.rename(previous.id, part.spec.name)
            self.engine.start(part.spec.name)

    def _is_new(self, part: plan.Part) -> bool:
        found = self.container(part.role)
        return found is not None and found.labels.get(plan.CONFIG_LABEL) == part.digest

    def names(self) -> list[str]:
        """Return every name that a container of this cache may have."""
        names = (self.settings.proxy_name, self.settings.storage_name)
        return [name + suffix for name in names for suffix in ("", PREVIOUS, "-check")]

    def _settle_leftovers(self) -> None:
        """Undo what an interrupted start left: the older container has served, a newer may not."""
        for name in (self.settings.proxy_name, self.settings.storage_name):
            if self.engine.find(name + PREVIOUS) is not None:
                self.engine.remove(name)
                self.engine.rename(name + PREVIOUS, name)

    def _check_nginx(self, part: plan.Part) -> None:
        """Let nginx read the new configuration before anything that runs is touched.

        :raises VmregError: it refuses it.
        """
        name = f"{part.spec.name}-check"
        self.engine.remove(name)
        command = ("nginx", "-e", "stderr", "-t", "-q", "-c", "/etc/vmreg/nginx.conf")
        spec = replace(part.spec, name=name, command=command, ports=(), restart=False, health=None)
        labels = {**plan.labels(self.settings), plan.ROLE_LABEL: "check"}
        check = self.engine.run(replace(spec, labels=labels, init=False))
        try:
            waiting.until(
                lambda: True if self.engine.inspect(check.id).state == "exited" else None,
                what=f"the end of nginx -t in {name}",
                timeout_s=CHECK_TIMEOUT_S,
                evidence=lambda: self.engine.logs(check.id),
            )
            if self.engine.inspect(check.id).exit_code:
                raise VmregError(
                    brief="nginx refuses the new configuration; nothing was changed",
                    details=self.engine.logs(check.id),
                    resolution="Look at what changed: vm registry config show",
                )
        finally:
            self.engine.remove(check.id)

    def _check_port(self) -> None:
        """Make sure that the port is free, or held by the container that is about to go.

        :raises HostError: something else holds it, or an address is not this host's.
        """
        port = self.settings.registry.port
        publishers = self.engine.publishers(port)
        if self.settings.proxy_name in publishers:
            return
        for address in self.bound():
            try:
                if ports.is_free(address, port):
                    continue
            except OSError as error:
                raise HostError(
                    brief=f"{address} is not an address of this host",
                    details=str(error),
                    resolution="Correct docker_registry.bind: vm registry config show",
                ) from error
            who = f"the container {publishers[0]}" if publishers else ports.holder(port)
            raise HostError(
                brief=f"port {port} on {address} is taken by {who}",
                resolution="Stop it, or choose another port: "
                f"vm registry config set docker_registry.port {port + 1}",
            )

    def _wait_serving(self) -> None:
        address, port = self.bound()[0], self.settings.registry.port
        last = ""

        def serves() -> bool | None:
            nonlocal last
            last = serving.fault(address, port)
            return None if last else True

        waiting.until(
            serves,
            what=f"a manifest and a blob through {address}:{port}",
            timeout_s=HEALTHY_TIMEOUT_S,
            evidence=lambda: "\n".join([last, *self._last_words()]),
        )

    def _last_words(self) -> list[str]:
        words = []
        for role in ("proxy", "storage"):
            found = self.container(role)
            state = "absent" if found is None else f"{found.state}, {found.restarts} restarts"
            words.append(f"{role} is {state}")
            if found is not None:
                words.append(self.engine.logs(found.id, tail=10))
        return words

    def _choices(self) -> dict[str, tuple[str, str]]:
        """Return for each role the image that the user chose and the one that we pin."""
        configured = self.settings.registry.images
        return {
            "proxy": (configured.proxy, images.NGINX_PIN),
            "storage": (configured.storage, images.REGISTRY_PIN),
        }

    def _facts(self) -> plan.HostFacts:
        registry = self.settings.registry
        ca_file = registry.upstream.ca_file
        subnets = self.engine.network_subnets
        return plan.HostFacts(
            addresses=self.bound(),
            # The engine publishes the port through whichever of the proxy's networks it prefers.
            clients=(
                *subnets(self.settings.network_name),
                *(subnets(registry.upstream.network) if registry.upstream.network else ()),
                *subnets("bridge"),
            ),
            inside=subnets(plan.inside_network(self.settings))[0],
            owner=owner(),
            ca_pem=ca_file.read_bytes() if ca_file else b"",
            password=registry.credentials.password() if registry.credentials else "",
        )

    def _of_role(self, role: str) -> tuple[Container, ...]:
        return self.engine.list(labels={**plan.labels(self.settings), plan.ROLE_LABEL: role})

    def _make_folders(self) -> None:
        for folder in (self.state, *(self.state / name for name in plan.STATE_FOLDERS)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            given = self._owner_if_root()
            if given is not None and folder != self.state:
                os.chown(folder, *given)

    def _write_files(self, part: plan.Part) -> None:
        """Put a part's files in a folder of its own, whole or not at all."""
        folder = self.state / "config" / f"{part.role}-{part.digest}"
        staged = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(mode=0o700)
        for name, content in part.files.items():
            path = staged / name
            path.touch(mode=0o600)
            path.write_bytes(content)
        given = self._owner_if_root()
        for path in (staged, *staged.iterdir()):
            if given is not None:
                os.chown(path, *given)
        if folder.exists():  # the same content, left by an interrupted start
            shutil.rmtree(folder)
        staged.rename(folder)

    def _prune_files(self, wanted: tuple[plan.Part, ...]) -> None:
        keep = {f"{part.role}-{part.digest}" for part in wanted}
        for folder in (self.state / "config").iterdir():
            if folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _owner_if_root() -> tuple[int, int] | None:
        return owner() if os.geteuid() == 0 else None


def owner() -> tuple[int, int]:
    """Return the user and group that the containers run as: the caller's, never root's."""
    if os.geteuid():
        return os.geteuid(), os.getegid()
    user, group = (int(os.environ.get(name, "0")) for name in ("SUDO_UID", "SUDO_GID"))
    return (user, group) if user else (UNPRIVILEGED, UNPRIVILEGED)
