"""Raw measurements of one benchmark run: what was seen, nothing derived.

``samples.json`` is written once, before anything is computed from it; every figure, chart and
verdict comes from that file. Names say the unit: ``_bytes`` are bytes, and ``_s`` are seconds
since the arm's run began, on the one wall clock that the hub and the clients share.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from vmreg.errors import UsageError, VmregError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
FILE_NAME = "samples.json"
UNITS = {"*_bytes": "byte", "*_bytes_s": "byte per second", "*_s": "second since the run's start"}

# Ethernet 14, IPv4 20, TCP 20, and 12 for the timestamps that Linux sends with every segment.
HEADERS_PER_PACKET_BYTES = 66

Arm = Literal["direct", "registry2", "vmreg"]
Pattern = Literal["sequential", "concurrent", "concurrent-http", "first-killed"]
CountedBy = Literal["hub", "egress", "network"]


@dataclass(frozen=True, kw_only=True)
class Host:
    """The machine that the run took place on.

    :param cpu: model name of the processor.
    :param cores: processors that the scheduler sees.
    :param memory_bytes: physical memory.
    :param kernel: release of the kernel.
    :param docker: version of the engine.
    """

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    docker: str


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What has to be known to read the numbers, or to measure them again.

    :param commit: git commit of the code, or ``unknown`` outside a checkout.
    :param dirty: whether tracked files differed from that commit.
    :param host: where it ran.
    :param started_at: ISO 8601 with its offset.
    :param arguments: the command line, one word per entry.
    :param upstream: ``embedded`` or ``docker.io``.
    :param profile: ``quick`` or ``full``.
    :param bandwidth_bytes_s: the hub's cap over all connections together; ``None`` is no cap.
    :param image: reference that every client pulled.
    :param scale: size of the image as a share of the real one's.
    :param allowed_skips: ids of criteria that may be skipped without failing this run.
    """

    commit: str
    dirty: bool
    host: Host
    started_at: str
    arguments: tuple[str, ...]
    upstream: Literal["embedded", "docker.io"]
    profile: str
    bandwidth_bytes_s: int | None
    image: str
    scale: float
    allowed_skips: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UpstreamRequest:
    """One answered request, from the access log of the hub (or of the egress).

    :param client: who asked: the name of a client of this run, or the cache's (``egress``,
        ``registry2``).
    :param role: which of the upstream's hosts answered: ``registry``, ``auth`` or ``cdn``.
    :param method: HTTP method.
    :param path: without its query, which may carry a signature.
    :param status: HTTP status.
    :param body_bytes: bytes of the answer's body (``$body_bytes_sent``).
    :param quota: whether Docker Hub would count it against the pull limit.
    :param ended_s: when the answer was complete or broke off.
    """

    client: str
    role: str
    method: str
    path: str
    status: int
    body_bytes: int
    quota: bool
    ended_s: float


@dataclass(frozen=True, kw_only=True)
class NetworkCounter:
    """How far a network interface's receive counters moved during the run.

    :param rx_bytes: bytes received, packet headers included.
    :param rx_packets: packets received, as the interface counts them.
    """

    rx_bytes: int
    rx_packets: int

    @property
    def payload_bytes(self) -> int:
        """Bytes received inside the TCP segments: HTTP, and TLS where it is used."""
        return max(0, self.rx_bytes - HEADERS_PER_PACKET_BYTES * self.rx_packets)


@dataclass(frozen=True, kw_only=True)
class FirstByte:
    """When the first byte of one blob came.

    :param digest: the blob's digest.
    :param asked_s: when the client sent its request.
    :param came_s: when the client had the first byte of the body.
    :param hub_s: when the hub sent its own first byte of this blob in this run, if it is known.
    """

    digest: str
    asked_s: float
    came_s: float
    hub_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClientSample:
    """One client's pull.

    :param name: unique within the run; a VM's name, or a plain HTTP client's.
    :param started_s: when the pull began.
    :param finished_s: when it ended, unpacking included where a dockerd pulled.
    :param network: counters of the VM's interface; ``None`` for a client without one of its own.
    :param body_bytes: bodies that a plain HTTP client read; ``None`` for a VM.
    :param edge_bytes: bytes of bodies that the cache logged as sent to this client, if it logs.
    :param edge_requests: answers that the cache logged for this client, if it logs.
    :param digests_ok: whether everything that was pulled has the digest it should have; ``None``
        when it was not looked at, as for a killed client.
    :param killed: whether the run killed it on purpose.
    :param first_bytes: in the order of the requests; empty when the client cannot tell.
    """

    name: str
    started_s: float
    finished_s: float
    network: NetworkCounter | None = None
    body_bytes: int | None = None
    edge_bytes: int | None = None
    edge_requests: int | None = None
    digests_ok: bool | None = None
    killed: bool = False
    first_bytes: tuple[FirstByte, ...] = ()

    @property
    def pull_s(self) -> float:
        """Seconds from the start of the pull to its end."""
        return self.finished_s - self.started_s


@dataclass(frozen=True, kw_only=True)
class ArmRun:
    """One arm pulling in one pattern, from an empty cache and empty clients.

    :param arm: how the clients reach the hub.
    :param pattern: one after another, all at once, or one of the HTTP clients' patterns.
    :param vms: number of clients.
    :param unique_bytes: every distinct manifest, config and layer of the image, counted once.
    :param counted_by: whose log ``requests`` is; ``network`` when the upstream keeps none for us.
    :param requests: everything that the upstream answered, in the order of its log.
    :param network: counters of the cache's own interface, used when ``counted_by`` is ``network``.
    :param egress_bytes: body bytes that the egress says it received from the upstream.
    :param edge_bytes: bytes of bodies that the cache logged as sent to all clients together, for
        VMs that it cannot tell apart: the engine hands them on from one address.
    :param edge_requests: answers that the cache logged for all of them.
    :param clients: in the order in which they were started.
    """

    arm: Arm
    pattern: Pattern
    vms: int
    unique_bytes: int
    counted_by: CountedBy
    requests: tuple[UpstreamRequest, ...]
    clients: tuple[ClientSample, ...]
    network: NetworkCounter | None = None
    egress_bytes: int | None = None
    edge_bytes: int | None = None
    edge_requests: int | None = None

    def __post_init__(self) -> None:
        """Refuse a run that does not add up.

        :raises ValueError: it has no clients, not as many as it says, or two of one name.
        """
        names = {client.name for client in self.clients}
        if not 0 < self.vms == len(self.clients) == len(names):
            raise ValueError(f"{self.vms} VMs, {len(self.clients)} clients, {len(names)} names")
        if self.unique_bytes <= 0:
            raise ValueError("unique_bytes has to be positive")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Everything that one benchmark run saw.

    :param meta: the conditions.
    :param runs: in the order in which they took place; a repetition is one more entry.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    meta: Meta
    runs: tuple[ArmRun, ...]

    def __post_init__(self) -> None:
        """Refuse samples of nothing.

        :raises ValueError: there is no run.
        """
        if not self.runs:
            raise ValueError("no run was measured")


def to_json(samples: Samples) -> str:
    """Return the text of ``samples.json``: keys in a fixed order, a newline at the end."""
    document = {"schema_version": SCHEMA_VERSION, "units": UNITS, **dataclasses.asdict(samples)}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, *, source: str = FILE_NAME) -> Samples:
    """Return the samples that :func:`to_json` wrote.

    :param source: named in errors.
    :raises UsageError: not JSON, another schema version, or a field is missing, unknown or wrong.
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - slow import

    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(brief=f"{source} is not JSON", details=str(error)) from error
    version = document.pop("schema_version", None) if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise UsageError(
            brief=f"{source} has schema version {version}, and this program reads {SCHEMA_VERSION}",
            resolution="Render it with the version of vmreg that measured it.",
        )
    document.pop("units", None)
    adapter = TypeAdapter(Samples)
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        raise UsageError(
            brief=f"{source} is not a valid sample file", details=str(error)
        ) from error


def schema() -> str:
    """Return the JSON Schema of ``samples.json``; ``bench/schema`` keeps a copy of this text."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - slow import

    described = TypeAdapter(Samples).json_schema(mode="serialization")
    described["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    described["properties"] = {
        "schema_version": {"const": SCHEMA_VERSION},
        "units": {"type": "object", "additionalProperties": {"type": "string"}},
        **described["properties"],
    }
    described["required"] = ["schema_version", "units", *described["required"]]
    return json.dumps(described, indent=2) + "\n"


def write(folder: Path, samples: Samples) -> Path:
    """Write ``samples.json`` into ``folder``, complete or not at all, and return its path.

    The folder is made when it is missing. The file is read-only afterwards.

    :raises VmregError: the folder already has samples; they are never overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / FILE_NAME
    with tempfile.NamedTemporaryFile("w", dir=folder, encoding="utf-8") as scratch:
        scratch.write(to_json(samples))
        scratch.flush()
        os.fchmod(scratch.fileno(), 0o444)
        try:
            os.link(scratch.name, target)
        except FileExistsError as error:
            raise VmregError(
                brief=f"{target} exists, and samples are never overwritten",
                resolution="Write this run into a folder of its own.",
            ) from error
    return target


def read(path: Path) -> tuple[Samples, str]:
    """Return the samples in a file and the SHA-256 of that file in hexadecimal.

    :raises UsageError: there is no such file, or it is not a valid sample file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            brief=f"cannot read {path}",
            details=str(error),
            resolution="Name the folder of a run, such as reports/latest.",
        ) from error
    samples = from_json(content.decode(errors="replace"), source=str(path))
    return samples, hashlib.sha256(content).hexdigest()
