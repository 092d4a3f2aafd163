"""Component images: the configured reference when present, else pulled, else built.

An image is built from Debian packages with ``mmdebstrap``, from the mirror that the host itself
uses, so that the project also runs where Docker Hub cannot be reached.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vmreg.errors import HostError, VmregError
from vmreg.interrupts import unwinding
from vmreg.process import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmreg.engine import Engine

RECIPE_LABEL = "vmreg.recipe"
SCRATCH = "vmreg-build-"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DROPPED_PATHS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A root file system made of Debian packages.

    :param name: what the image is for; part of its reference.
    :param suite: the Debian release.
    :param packages: what is installed besides the essential set.
    :param hooks: commands that run with the new root as ``$1`` before it is packed.
    :param rolling: whether the suite is replaced every few days. Its package list may then have
        expired on a mirror that lags; its signature is checked all the same.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = ()
    rolling: bool = False

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change with anything in the recipe."""
        text = "\n".join((self.suite, *self.packages, "--", *self.hooks))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def reference(self) -> str:
        """The local image reference that a build is kept under."""
        return f"vmreg/{self.name}:{self.suite}-{self.digest}"


# registry:2 carries distribution 2.8.3; Debian 13 packages that very release.
COMPONENTS = Recipe(
    name="components",
    suite="trixie",
    packages=("nginx-light", "libnginx-mod-stream", "docker-registry", "ca-certificates", "wget"),
)
# The official images by the digest of their multi-architecture index: nginx 1.28, registry 2.8.3.
NGINX_PIN = "nginx@sha256:a8b39bd9cf0f83869a2162827a0caf6137ddf759d50a171451b335cecc87d236"
REGISTRY_PIN = "registry@sha256:a3d8aaa63ed8681a604f1dea0aa03f100d5895b6a58ace528858a7b332415373"


def ensure(
    engine: Engine,
    *,
    recipe: Recipe,
    configured: str = "",
    pinned: str = "",
    pull: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> str:
    """Return a reference that is present on the engine, building or pulling it when it must.

    Tried in turn: ``configured`` if present, ``pinned`` if present, the built image if present,
    a pull of ``configured`` or ``pinned``, a build. A second call finds the first one's result.

    :param configured: the user's choice; when it is set nothing else is ever used.
    :param pinned: reference with a digest.
    :param pull: whether the network may be asked.
    :param progress: told what is happening, one line at a time.
    :raises VmregError: neither pull nor build succeeded.
    """
    found = present(engine, recipe=recipe, configured=configured, pinned=pinned)
    if found:
        return found
    if configured:
        progress(f"pulling {configured}")
        engine.pull_image(configured)
        return configured
    if pinned and pull:
        try:
            progress(f"pulling {pinned}")
            engine.pull_image(pinned)
        except VmregError as error:
            progress(f"not pulled ({error.brief}); building {recipe.name} from Debian packages")
        else:
            return pinned
    return build(engine, recipe, progress=progress)


def present(engine: Engine, *, recipe: Recipe, configured: str = "", pinned: str = "") -> str:
    """Return the reference that :func:`ensure` would settle on at once, empty when it must act."""
    candidates = (configured,) if configured else (pinned, recipe.reference)
    for reference in candidates:
        if reference and engine.image_id(reference) is not None:
            return reference
    return ""


def build(engine: Engine, recipe: Recipe, *, progress: Callable[[str], None]) -> str:
    """Build a recipe with ``mmdebstrap``, import it and return its reference.

    Takes 15 to 60 seconds; the scratch archive is removed however it ends.

    :raises HostError: ``mmdebstrap`` or Debian's keyring is missing.
    :raises VmregError: a package cannot be had, or the import failed.
    """
    progress(f"building {recipe.reference} from Debian {recipe.suite} (under a minute)")
    with unwinding(), _scratch() as folder:
        archive = folder / "root.tar"
        # It keeps the whole root file system in a temporary folder while it builds.
        environment = {**os.environ, "TMPDIR": str(folder)}
        run(_mmdebstrap(recipe, archive), timeout_s=900, environment=environment, tied=True)
        image_id = engine.import_image(
            archive,
            reference=recipe.reference,
            changes=(f"LABEL {RECIPE_LABEL}={recipe.digest}",),
        )
    progress(f"built {recipe.reference} ({image_id[7:19]})")
    return recipe.reference


def sweep() -> None:
    """Remove what builds left whose process was killed; a second call is harmless."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        pid = left.name.removeprefix(SCRATCH).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a folder for a build; those of processes that were killed are removed first."""
    sweep()
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-") as folder:
        Path(folder).chmod(0o711)  # an ordinary user builds under other ids than its own
        yield Path(folder)


def _mmdebstrap(recipe: Recipe, archive: Path) -> list[str]:
    if not KEYRING.exists():
        raise HostError(
            brief=f"{KEYRING} is missing, so Debian's packages cannot be verified",
            resolution="Install it: sudo apt-get install debian-archive-keyring",
        )
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=essential",
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt=path-exclude={path}" for path in DROPPED_PATHS),
        *(['--aptopt=Acquire::Check-Valid-Until "false"'] if recipe.rolling else []),
        *(f"--customize-hook={hook}" for hook in recipe.hooks),
        recipe.suite,
        str(archive),
        *host_mirror(),
    ]


def host_mirror() -> list[str]:
    """Return the address of the Debian mirror that this host uses, or nothing when it has none."""
    if platform.freedesktop_os_release().get("ID") != "debian":
        return []
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listed = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(CODENAME) $(COMPONENT) $(REPO_URI)",
            "Identifier: Packages",
        ],
        check=False,
    )
    for line in listed.output.splitlines():
        name, _, rest = line.partition(" ")
        component, _, address = rest.partition(" ")
        if name == codename and component == "main" and address.startswith("http"):
            return [address]
    return []
