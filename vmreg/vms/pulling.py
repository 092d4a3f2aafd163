"""Pulls in a VM, timed where they happen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.errors import VmregError

if TYPE_CHECKING:
    from vmreg.vms.provider import Provider

# The shell's own clock: no process is started between a reading and the pull.
_TIMED_PULL = """
start=$EPOCHREALTIME
docker pull "$1"
status=$?
echo "$start $EPOCHREALTIME"
exit $status
"""
_DIGEST = "Digest: "


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """An image that a VM has pulled.

    :param seconds: from the start of ``docker pull`` to its end, by the VM's clock.
    :param digest: ``sha256:…`` of the manifest, or index, that the registry answered with.
    :param image_id: ``sha256:…`` of the image's configuration.
    """

    seconds: float
    digest: str
    image_id: str


def pull(provider: Provider, name: str, reference: str) -> Pulled:
    """Run ``docker pull`` in a VM to its end.

    :raises NotRunningError: the VM is absent or stopped.
    :raises VmregError: the pull failed; the details are dockerd's message.
    """
    done = provider.exec(name, ["bash", "-c", _TIMED_PULL, "bash", reference])
    if done.exit_code:
        raise VmregError(
            brief=f"the VM {name} cannot pull {reference}", details=done.errors.strip()
        )
    *lines, times = done.output.splitlines()
    start, end = times.split()
    digest = next(line.removeprefix(_DIGEST) for line in lines if line.startswith(_DIGEST))
    return Pulled(
        seconds=float(end) - float(start),
        digest=digest,
        image_id=_inspect(provider, name, reference, "{{.Id}}"),
    )


def repo_digests(provider: Provider, name: str, reference: str) -> tuple[str, ...]:
    """Return what a VM's dockerd recorded for an image: ``repository@sha256:…``, in its order.

    :raises VmregError: the VM has no such image.
    """
    listed = json.loads(_inspect(provider, name, reference, "{{json .RepoDigests}}"))
    return tuple(str(one) for one in listed or ())


def _inspect(provider: Provider, name: str, reference: str, template: str) -> str:
    done = provider.exec(name, ["docker", "image", "inspect", "--format", template, reference])
    if done.exit_code:
        raise VmregError(brief=f"the VM {name} has no {reference}", details=done.errors.strip())
    return done.output.strip()
