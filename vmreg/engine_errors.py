"""What goes wrong between the Docker SDK and the engine, in our own terms."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import docker.errors
import requests.exceptions

from vmreg.errors import HostError, VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn the SDK's errors into ours.

    :param doing: what is tried, after "refused to".
    :raises VmregError: the engine refused.
    :raises HostError: it did not answer.
    """
    try:
        yield
    except docker.errors.APIError as error:
        raise VmregError(
            brief=f"the Docker engine refused to {doing}",
            details=str(error.explanation or error),
        ) from error
    except (requests.exceptions.RequestException, docker.errors.DockerException) as error:
        raise HostError(
            brief=f"the Docker engine did not answer (trying to {doing})",
            details=str(error),
            resolution="Check that it runs: docker info",
        ) from error
