"""Names of VMs, and a project's first ``vm.yaml``."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING

from vmreg.config.files import PROJECT_FILE
from vmreg.config.flow import flow
from vmreg.config.parsers import InvalidValueError, vm_name
from vmreg.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_NAME = 63
SAMPLE_CPUS = 2
_SHARED_MODE = 0o644  # a project's file is everyone's who has the project
_TEXT = """\
# What this project's VMs are made of. The command line and the variables named here are stronger;
# your own ~/.vm/config.yaml, with the same keys but project and ports, is weaker.

# What makes the VMs.
provider: docker

project:
  # What a VM is called where a command names none.
  name: {name}

# Limits of each VM; remove a line for no limit.
vm:
  # VM_CPUS; need not be whole.
  cpus: {cpus}
  # VM_MEMORY; with its unit.
  memory: 4GB
  # VM_IMAGE: the provider's image to use instead of the one that services.docker asks for.
  image: ""

ports:
  # The lowest and the highest host port that VMs may be given. The cache's port lies outside.
  _range: [3000, 3009]

services:
  # Whether each VM has a Docker of its own. With a release (VM_DOCKER), 20.10, 26.1 or 28.5:
  # docker: {{enabled: true, version: "28.5"}}
  docker: true

# Whether new VMs pull through the cache of this host.
docker_registry: true
"""


def check_name(name: str) -> str:
    """Return ``name`` if a VM can have it.

    :raises UsageError: it cannot.

    >>> check_name("shop-1")
    'shop-1'
    """
    try:
        return vm_name(name)
    except InvalidValueError as fault:
        raise UsageError(
            brief=f"{name!r} {fault.message}", resolution=f"{fault.remedy.capitalize()}."
        ) from fault


def fit_name(folder: Path) -> str:
    """Return a folder's name as far as a VM can have it, ``vm`` if nothing of it remains.

    >>> from pathlib import Path
    >>> fit_name(Path("/home/me/My Café (new)")), fit_name(Path("/"))
    ('My-Cafe-new', 'vm')
    """
    plain = unicodedata.normalize("NFKD", folder.name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain).lstrip("-_.")
    return words[:LONGEST_NAME].rstrip("-_.") or "vm"


def init_text(name: str, *, cpus: int = SAMPLE_CPUS) -> str:
    """Return a ``vm.yaml`` with every key explained.

    :param name: the project's, which :func:`check_name` accepts.
    :param cpus: the limit that it names.
    """
    return _TEXT.format(name=flow(name), cpus=cpus)


def init(
    folder: Path, *, name: str = "", force: bool = False, dry: bool = False
) -> tuple[Path, str]:
    """Write a project's first ``vm.yaml``, whole or not at all; return its path and its text.

    A second call refuses unless it is forced.

    :param name: the project's; by default the folder's, as far as a VM can have it.
    :param force: write over a file that is there, keeping its mode and owner.
    :param dry: write nothing.
    :raises UsageError: a VM cannot have the name, or there is a file already.
    :raises HostError: the file cannot be written.
    """
    from vmreg.config.change import write  # noqa: PLC0415 - start-up time

    path = folder.absolute() / PROJECT_FILE
    text = init_text(
        check_name(name) if name else fit_name(folder.absolute()),
        # An engine refuses more CPUs than there are.
        cpus=min(SAMPLE_CPUS, os.cpu_count() or 1),
    )
    if not force and (path.exists() or path.is_symlink()):
        raise UsageError(
            brief=f"{path} exists", resolution="Keep it, or write over it with --force."
        )
    if not dry:
        write(path, text, new_mode=_SHARED_MODE)
    return path, text
