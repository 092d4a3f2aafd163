"""What a person sees while images are fetched: bars on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

MB = 1_000_000
_STEP_PERCENT = 25


class Events(Protocol):
    """Told about each image, by its reference, from several threads; a context manager."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""
        ...

    def begin(self, reference: str, *, total_bytes: int) -> None:
        """Show an image whose size is known now."""
        ...

    def advance(self, reference: str, *, done_bytes: int) -> None:
        """Show how many bytes of an image are in the cache."""
        ...

    def finish(self, reference: str, *, fetched_bytes: int, seconds: float, error: str) -> None:
        """Show that an image is in the cache, or why it is not; it may not have begun."""
        ...


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Return itself; there is nothing to prepare."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def begin(self, reference: str, *, total_bytes: int) -> None:
        """Do nothing."""

    def advance(self, reference: str, *, done_bytes: int) -> None:
        """Do nothing."""

    def finish(self, reference: str, *, fetched_bytes: int, seconds: float, error: str) -> None:
        """Do nothing."""


class Lines(Silent):
    """Plain lines: an image's size, each quarter of it, and its end."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._lock = threading.Lock()
        self._totals: dict[str, int] = {}
        self._shown: dict[str, int] = {}

    def begin(self, reference: str, *, total_bytes: int) -> None:
        """Write the size."""
        with self._lock:
            self._totals[reference] = total_bytes
            self._shown[reference] = 0
            self._write(f"{reference}: {megabytes(total_bytes)}")

    def advance(self, reference: str, *, done_bytes: int) -> None:
        """Write a line when another quarter is there, and the end is not."""
        with self._lock:
            percent = done_bytes * 100 // max(1, self._totals[reference])
            step = percent - percent % _STEP_PERCENT
            if self._shown[reference] < step < 100:  # noqa: PLR2004 - per cent
                self._shown[reference] = step
                self._write(f"{reference}: {step} %")

    def finish(self, reference: str, *, fetched_bytes: int, seconds: float, error: str) -> None:
        """Write what was fetched, or what went wrong."""
        with self._lock:
            self._write(f"{reference}: {outcome(fetched_bytes, seconds, error)}")

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Bars:
    """A bar for each image, redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        """Prepare to draw on ``stream``, a terminal."""
        from rich.console import Console  # noqa: PLC0415 - slow import, only for a terminal
        from rich.progress import (  # noqa: PLC0415 - as above
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
        )

        self._drawn = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(file=stream),
        )
        self._rows: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._drawn.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the terminal."""
        self._drawn.stop()

    def begin(self, reference: str, *, total_bytes: int) -> None:
        """Add a bar."""
        with self._lock:
            self._rows[reference] = self._drawn.add_task(reference, total=total_bytes, note="")

    def advance(self, reference: str, *, done_bytes: int) -> None:
        """Move a bar."""
        self._drawn.update(self._rows[reference], completed=done_bytes)

    def finish(self, reference: str, *, fetched_bytes: int, seconds: float, error: str) -> None:
        """Stop a bar and write how it ended beside it."""
        if reference not in self._rows:
            self.begin(reference, total_bytes=0)
        row = self._rows[reference]
        self._drawn.update(row, note=outcome(fetched_bytes, seconds, error))
        self._drawn.stop_task(row)


def choose(stream: TextIO = sys.stderr) -> Events:
    """Return bars when ``stream`` is a terminal, else plain lines on it."""
    return Bars(stream) if stream.isatty() else Lines(stream)


def outcome(fetched_bytes: int, seconds: float, error: str) -> str:
    """Return how an image ended, in a few words.

    >>> outcome(8_100_000, 1.25, ""), outcome(0, 0.1, "")
    ('fetched 8.1 MB in 1.2 s', 'was in the cache already')
    """
    if error:
        return f"failed: {error}"
    if not fetched_bytes:
        return "was in the cache already"
    return f"fetched {megabytes(fetched_bytes)} in {seconds:.1f} s"


def megabytes(size_bytes: int) -> str:
    """Return a size for a person.

    >>> megabytes(395_812_345)
    '395.8 MB'
    """
    return f"{size_bytes / MB:.1f} MB"
