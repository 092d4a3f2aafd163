"""The embedded hub as a service: a cache with its variables serves its images."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from bench import standin
from vmreg.config import load
from vmreg.engine import Engine

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_its_variables_lead_a_cache_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"test-standin-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(standin, "NAME", name)
    monkeypatch.setattr(standin, "OWNER", name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine = Engine.connect(owner=name)
    try:
        variables, images = standin.start(scale=0.01, progress=lambda _: None)
        settings = load(environment={**variables, "VM_HOME": str(tmp_path)}, cwd=tmp_path)
        assert "library/node:20" in images
        assert settings.registry.upstream.network == name
        assert settings.registry.upstream.ca_file is not None
        assert name in engine.inspect(name).addresses
    finally:
        assert standin.stop()
        engine.close()
    assert not standin.stop()
