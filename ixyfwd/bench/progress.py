"""Progress of a long measurement: one line that changes on a terminal, plain lines elsewhere."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ixyfwd.kit.outlet import Outlet, can_draw


@contextmanager
def progress(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A callable that shows a text on standard error. It never waits and never fails."""
    stream = sys.stderr
    patience_s = stream.patience_s if isinstance(stream, Outlet) else None
    try:
        if isinstance(stream, Outlet):
            stream.patience_s = 0.0
        if quiet:
            yield lambda text: None
        elif can_draw(stream) and "NO_COLOR" not in os.environ:
            from rich.console import Console  # noqa: PLC0415 - a tenth of a second that a pipe need not pay

            with Console(stderr=True).status("measuring") as status:
                yield status.update
        else:
            yield say
    finally:
        if isinstance(stream, Outlet):
            stream.patience_s = patience_s


def say(text: str) -> None:
    """Write a line on standard error, if that can be written."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
