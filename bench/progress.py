"""What a person sees while the benchmark runs: bars on a terminal, else a line per event."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

MB = 1_000_000


class Progress(Protocol):
    """Told about the run, from several threads; a context manager around the whole of it.

    :ivar live: whether figures between a client's start and its end are of any use.
    """

    live: bool

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

    def say(self, text: str) -> None:
        """Show what is going on, in one line."""
        ...

    def begin(self, title: str, *, number: int, of: int) -> None:
        """Begin a step, ``number`` of ``of``; the clients of the step before are forgotten."""
        ...

    def start(self, client: str, *, total_bytes: int) -> None:
        """Show that a client starts to pull."""
        ...

    def update(self, client: str, received_bytes: int) -> None:
        """Show how far a client has come."""
        ...

    def finish(self, client: str, *, seconds: float, note: str = "") -> None:
        """Show that a client is done."""
        ...


class Lines:
    """One plain line for each event, with the seconds since the start."""

    live = False

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return itself; there is nothing to prepare."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: every line has been written."""

    def say(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            print(
                f"[{time.monotonic() - self._began:6.1f} s] {text}", file=self._stream, flush=True
            )

    def begin(self, title: str, *, number: int, of: int) -> None:
        """Write the step's title."""
        self.say(f"step {number} of {of}: {title}")

    def start(self, client: str, *, total_bytes: int) -> None:
        """Write that a client starts."""
        self.say(f"{client}: pulling {total_bytes / MB:.1f} MB")

    def update(self, client: str, received_bytes: int) -> None:
        """Write nothing: a line per chunk would bury the rest."""

    def finish(self, client: str, *, seconds: float, note: str = "") -> None:
        """Write how long a client took."""
        self.say(f"{client}: done in {seconds:.2f} s{note and ', ' + note}")


class Bars:
    """A bar for each client of the present step, redrawn in place."""

    live = True

    def __init__(self) -> None:
        """Prepare to draw on standard error."""
        from rich.console import Console  # noqa: PLC0415 - slow import, only for a terminal
        from rich.progress import (  # noqa: PLC0415 - as above
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import Progress as RichProgress  # noqa: PLC0415 - as above

        self._shown = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._rows: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the terminal."""
        self._shown.stop()

    def say(self, text: str) -> None:
        """Write a line above the bars."""
        self._shown.console.print(text, markup=False, highlight=False)

    def begin(self, title: str, *, number: int, of: int) -> None:
        """Take the bars away and write the step's title."""
        with self._lock:
            for row in self._rows.values():
                self._shown.remove_task(row)
            self._rows.clear()
        self.say(f"step {number} of {of}: {title}")

    def start(self, client: str, *, total_bytes: int) -> None:
        """Add a bar."""
        with self._lock:
            self._rows[client] = self._shown.add_task(client, total=total_bytes, note="")

    def update(self, client: str, received_bytes: int) -> None:
        """Move a bar."""
        row = self._rows.get(client)
        if row is not None:
            self._shown.update(row, completed=received_bytes)

    def finish(self, client: str, *, seconds: float, note: str = "") -> None:
        """Stop a bar and write how long the client took beside it."""
        with self._lock:
            row = self._rows.get(client)
        if row is not None:
            self._shown.update(row, note=f"{seconds:.2f} s{note and ', ' + note}")
            self._shown.stop_task(row)


def choose(stream: TextIO = sys.stderr) -> Progress:
    """Return bars when ``stream`` is a terminal, else plain lines on it."""
    return Bars() if stream.isatty() else Lines(stream)
