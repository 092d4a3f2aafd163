"""Where a run takes place: an engine, names of its own, a scratch folder, images that are ready."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.arms import Site
from bench.hub import RECIPE
from bench.keeping import KeepingEngine
from bench.parallel import at_once
from vmreg import images
from vmreg.interrupts import unwinding
from vmreg.vms.image import ensure_vm_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.progress import Progress
    from bench.upstream import Upstream
    from vmreg.engine import Engine

OWNER = "vmreg-bench"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a run has to itself: a name that nothing else has, and a scratch folder."""

    engine: KeepingEngine
    name: str
    folder: Path


def cache_folder() -> Path:
    """Return where generated images are kept from run to run: below ``XDG_CACHE_HOME``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "vmreg"


@contextmanager
def open_place(progress: Progress, *, keep: bool) -> Iterator[Place]:
    """Yield where a run can take place, and remove all that is left there at the end."""
    engine = KeepingEngine.connect(owner=OWNER)
    engine.wanted = keep
    name = f"bench-{uuid.uuid4().hex[:6]}"
    cache_folder().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache_folder()))
    with unwinding() as interrupts:
        _mention_leftovers(engine, progress)
        try:
            yield Place(engine=engine, name=name, folder=folder)
        finally:
            interrupts.hold()
            if engine.holding:
                progress.say(
                    f"kept, with the logs in {folder}; to remove it later: "
                    f"{engine.how_to_remove(name)}; rm -r {folder}"
                )
            else:
                _sweep(engine, name)
                shutil.rmtree(folder, ignore_errors=True)
            engine.close()


def _mention_leftovers(engine: Engine, progress: Progress) -> None:
    others = engine.list()
    if others:
        progress.say(
            f"{len(others)} containers of another run are there ({others[0].name}, ...); if none "
            f"is running: docker rm --force --volumes {' '.join(one.name for one in others)}"
        )


def _sweep(engine: Engine, name: str) -> None:
    """Remove what an interrupted teardown left; normally there is nothing."""
    for container in engine.list():
        if name in container.name:
            engine.remove(container.id)
    for network in (f"{name}-net", f"{name}-cache", f"{name}-cache-inside"):
        engine.remove_network(network)


def prepare(engine: Engine, progress: Progress, *, embedded: bool) -> None:
    """Make sure of all images before anything is timed; builds keep one core each busy."""
    say = progress.say

    def components() -> None:
        for pin in (images.REGISTRY_PIN, images.NGINX_PIN):
            images.ensure(engine, recipe=images.COMPONENTS, pinned=pin, progress=say)

    jobs: list[Callable[[], object]] = [partial(ensure_vm_image, engine, progress=say), components]
    if embedded:
        jobs.append(partial(images.ensure, engine, recipe=RECIPE, pull=False, progress=say))
    at_once(jobs, name="image")


def site(place: Place, opened: Upstream) -> Site:
    """Return where arms can stand in front of an open upstream."""
    return Site(
        engine=place.engine,
        name=place.name,
        folder=place.folder,
        network=opened.network,
        ca_file=opened.ca_file,
        upstream=opened.endpoint,
    )
