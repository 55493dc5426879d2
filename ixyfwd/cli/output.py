"""Lines onto a stream whose reader may go away."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from ixyfwd.errors import IxyfwdError


class Lines:
    """Whole lines, written at once. A reader that has gone (`| head`) is no error: the rest is not written."""

    def __init__(self, stream: TextIO, on_closed: Callable[[], None] | None = None) -> None:
        """`on_closed` is called once, when it is noticed that nobody reads any more."""
        self._stream = stream
        self._on_closed = on_closed
        self._closed = False

    def write(self, *lines: str) -> None:
        """Write and flush. Raises IxyfwdError if the stream cannot be written (a full disk)."""
        if self._closed:
            return
        try:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
        except OSError as error:
            self._closed = True
            silence(self._stream)
            if not isinstance(error, BrokenPipeError):
                raise IxyfwdError(f"the output cannot be written ({error.strerror})") from None
            if self._on_closed is not None:
                self._on_closed()

    def write_json(self, data: Mapping[str, Any]) -> None:
        """One object on one line."""
        self.write(json.dumps(data, default=str))

    def leave_open(self) -> None:
        """From now on a reader that goes away is nobody's business."""
        self._on_closed = None


def silence(stream: TextIO) -> None:
    """Let what is still buffered go to /dev/null, or Python complains about it at exit."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return  # not a file: nothing will be flushed into it
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
