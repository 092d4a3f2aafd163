"""Typical configurations and what is rendered of them; each folder here is one.

A folder is a home: ``config.yaml`` is what the user wrote, the other files are what the containers
get. ``nginx.conf.txt`` is rendered, not written, so that it may be as long as it comes.

After a change of a template, look at what it does to these files, and commit them with it::

    .venv/bin/python -m tests.golden.cases && git diff tests/golden
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vmreg import plan
from vmreg.config import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmreg.config import Settings

HERE = Path(__file__).resolve().parent
RENEW = ".venv/bin/python -m tests.golden.cases && git diff tests/golden"
PASSWORD = 'it\'s <"50%"> & \\n: {{ ünsafe }} # $x'  # noqa: S105 - made up, and hard to quote
IMAGES = plan.Images(proxy="nginx:golden", storage="registry:golden")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One configuration and what it renders to."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def settings(self) -> Settings:
        return load(environment={"VM_HOME": str(self.folder)}, cwd=self.folder)

    def facts(self, *, owner: tuple[int, int] = (1000, 1000)) -> plan.HostFacts:
        settings = self.settings()
        return plan.HostFacts(
            addresses=("127.0.0.1", "172.17.0.1"),
            clients=("172.18.0.0/16", "172.17.0.0/16"),
            inside="172.19.0.0/16",
            owner=owner,
            ca_pem=self.ca_file.read_bytes() if settings.registry.upstream.ca_file else b"",
            password=PASSWORD if settings.registry.credentials else "",
        )

    def rendered(self) -> Mapping[Path, bytes]:
        """Return what the golden files should hold now."""
        proxy, storage = plan.parts(self.settings(), self.facts(), IMAGES)
        return {
            self.folder / "nginx.conf.txt": proxy.files["nginx.conf"],
            self.folder / "registry.yml": storage.files["registry.yml"],
        }


CASES = tuple(Case(folder=path.parent) for path in sorted(HERE.glob("*/config.yaml")))


def renew() -> None:
    """Write every golden file anew."""
    for case in CASES:
        for path, content in case.rendered().items():
            path.write_bytes(content)


if __name__ == "__main__":
    renew()
