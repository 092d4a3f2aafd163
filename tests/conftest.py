"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from bench.hub import Hub
from vmreg.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A shell starts its background jobs with interruptions ignored, and programs under test inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def hub_engine() -> Iterator[Engine]:
    engine = Engine.connect(owner=f"test-hub-{os.getpid()}")
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def hub_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub-cache")


@pytest.fixture(scope="session")
def hub_session(
    hub_engine: Engine, hub_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    """One hub with no cache in front; take ``hub_alone``, which is put back after each test."""
    with Hub.start(
        hub_engine,
        name=f"test-hub-{os.getpid()}",
        network=f"test-hub-{os.getpid()}",
        state=tmp_path_factory.mktemp("hub-state"),
        cache=hub_cache,
        scale=0.02,
        credentials=("ann", "secret"),
    ) as hub:
        yield hub


@pytest.fixture
def hub_alone(hub_session: Hub) -> Iterator[Hub]:
    """Yield a healthy hub without a cap; faults and caps end with the test."""
    yield hub_session
    hub_session.heal()
    hub_session.set_bandwidth(None)
