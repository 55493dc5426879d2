"""What a long measurement shows while it runs: one line that changes on a terminal, plain lines elsewhere."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A callable that shows a text on standard error."""
    if quiet:
        yield lambda text: None
    elif sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        from rich.console import Console  # noqa: PLC0415 - a tenth of a second that a pipe need not pay

        with Console(stderr=True).status("measuring") as status:
            yield status.update
    else:
        yield lambda text: print(text, file=sys.stderr, flush=True)
