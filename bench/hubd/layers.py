"""Deterministic image layers: gzip-compressed tar archives with real files in them.

Every file begins with bytes that do not compress and goes on with text that does, so that a
layer has a chosen size both packed and unpacked.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from typing_extensions import Buffer

MTIME = 1_700_000_000
POOL_BYTES = 4 << 20
GZIP_WINDOW = 31
FILES_PER_FOLDER = 64
# What a tar header costs after compression at level 1, near enough for the size to be right.
HEADER_COST_BYTES = 110
TEXT = b"every byte leaves the hub once, however many machines ask for it\n"
APPLETS = ("sh", "ash", "cat", "cp", "df", "du", "echo", "env", "false", "find", "head", "id",
           "ls", "md5sum", "mkdir", "nc", "ps", "rm", "sha256sum", "sleep", "stat", "tail", "test",
           "touch", "true", "uname", "wc", "wget")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """What a layer is to be.

    :param name: seeds its content and names its folder.
    :param packed_bytes: size of the compressed archive, met to a few per cent.
    :param unpacked_bytes: sum of its files' sizes, met to a few per cent.
    :param files: number of regular files.
    :param root: whether it also carries the skeleton of a root file system with busybox in it.
    """

    name: str
    packed_bytes: int
    unpacked_bytes: int
    files: int
    root: bool = False

    def scaled(self, scale: float) -> LayerPlan:
        """Return this plan with sizes and file count multiplied, at least one byte and file."""
        return LayerPlan(
            name=self.name,
            packed_bytes=max(1, round(self.packed_bytes * scale)),
            unpacked_bytes=max(1, round(self.unpacked_bytes * scale)),
            files=max(1, round(self.files * scale)),
            root=self.root,
        )


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer that was written.

    :param digest: ``sha256:…`` of the compressed archive.
    :param diff_id: ``sha256:…`` of the archive before compression, as image configs name it.
    :param size: bytes of the compressed archive.
    """

    digest: str
    diff_id: str
    size: int


class _Packer(io.RawIOBase):
    """A writable stream that compresses, hashes and counts what passes."""

    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self._sink = sink
        self._deflate = zlib.compressobj(1, zlib.DEFLATED, GZIP_WINDOW)
        self._packed, self._plain = hashlib.sha256(), hashlib.sha256()
        self.size = 0

    def write(self, data: Buffer, /) -> int:
        self._plain.update(data)
        self._emit(self._deflate.compress(data))
        return memoryview(data).nbytes

    def _emit(self, packed: bytes) -> None:
        self._packed.update(packed)
        self.size += self._sink.write(packed)

    def finish(self) -> Layer:
        """Write what is left and return what was written."""
        self._emit(self._deflate.flush())
        return Layer(
            digest=f"sha256:{self._packed.hexdigest()}",
            diff_id=f"sha256:{self._plain.hexdigest()}",
            size=self.size,
        )


def write_layer(plan: LayerPlan, *, seed: int, busybox: bytes, sink: BinaryIO) -> Layer:
    """Write one layer to ``sink`` and return its digests; the same arguments give the same bytes.

    :param busybox: a static busybox; used when the plan asks for a root file system.
    """
    packer = _Packer(sink)
    with tarfile.open(fileobj=packer, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        spent = _root(tar, busybox) if plan.root else 0
        packed = max(1, plan.packed_bytes - spent)
        plain = max(1, plan.unpacked_bytes - (len(busybox) if plan.root else 0))
        rng = Random(f"{seed}/{plan.name}")  # noqa: S311 - content, no secret
        pool = rng.randbytes(min(POOL_BYTES, max(1024, packed)) + 1024)
        for entry in _entries(plan, rng, packed_bytes=packed, plain_bytes=plain):
            _file(tar, entry.path, _body(entry, pool, rng))
    return packer.finish()


@dataclass(frozen=True, kw_only=True)
class _Entry:
    path: str
    noise_bytes: int
    text_bytes: int


def _entries(
    plan: LayerPlan, rng: Random, *, packed_bytes: int, plain_bytes: int
) -> Iterator[_Entry]:
    """Spread the sizes over the files: a few large ones, many small, the sums exact."""
    weights = [min(300, rng.paretovariate(1.2)) for _ in range(plan.files)]
    scale = 1 / sum(weights)
    noise = max(0, packed_bytes - plan.files * HEADER_COST_BYTES - plain_bytes // 200)
    share = [0.0, 0.0]
    for index, weight in enumerate(weights):
        before = [int(share[0]), int(share[1])]
        share[0] += noise * weight * scale
        share[1] += max(plain_bytes, noise) * weight * scale
        head, total = int(share[0]) - before[0], int(share[1]) - before[1]
        yield _Entry(
            path=f"usr/lib/{plan.name}/{index // FILES_PER_FOLDER:04d}/file{index:06d}.dat",
            noise_bytes=head,
            text_bytes=max(0, total - head),
        )


def _body(entry: _Entry, pool: bytes, rng: Random) -> bytes:
    noise = bytearray()
    while len(noise) < entry.noise_bytes:
        start = rng.randrange(len(pool) // 2)
        noise += pool[start : start + entry.noise_bytes - len(noise)]
    return bytes(noise) + (TEXT * (entry.text_bytes // len(TEXT) + 1))[: entry.text_bytes]


def _root(tar: tarfile.TarFile, busybox: bytes) -> int:
    """Write the skeleton of a root file system; return about what it costs compressed."""
    for path in ("bin", "dev", "etc", "proc", "root", "run", "sys", "usr", "usr/lib", "var"):
        _add(tar, path, kind=tarfile.DIRTYPE, mode=0o755)
    _add(tar, "tmp", kind=tarfile.DIRTYPE, mode=0o1777)
    _file(tar, "bin/busybox", busybox, mode=0o755)
    for name in APPLETS:
        _add(tar, f"bin/{name}", kind=tarfile.SYMTYPE, mode=0o777, link="busybox")
    _file(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    _file(tar, "etc/group", b"root:x:0:\n")
    return len(zlib.compress(busybox, 1))


def _file(tar: tarfile.TarFile, path: str, body: bytes, *, mode: int = 0o644) -> None:
    _add(tar, path, kind=tarfile.REGTYPE, mode=mode, body=body)


def _add(
    tar: tarfile.TarFile, path: str, *, kind: bytes, mode: int, link: str = "", body: bytes = b""
) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname = kind, mode, link
    info.size, info.mtime, info.uname, info.gname = len(body), MTIME, "root", "root"
    tar.addfile(info, io.BytesIO(body))
