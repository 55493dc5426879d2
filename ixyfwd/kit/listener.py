"""Listening Unix sockets that only their owner may use and that leave no file behind."""

import contextlib
import os
import socket
import stat

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError

PATH_LIMIT_BYTES = 107  # sun_path of sockaddr_un has 108 with the final zero (unix(7))
BACKLOG = 64


class Listener:
    """A listening socket at `path`, mode 0600; `close` removes the file."""

    def __init__(self, path: str) -> None:
        """Listen. Raises RefusedError if a process listens there, else UsageError or IxyfwdError if that fails."""
        self.path = path
        if len(os.fsencode(path)) > PATH_LIMIT_BYTES:
            raise UsageError(
                f"the socket path {path} is longer than {PATH_LIMIT_BYTES} bytes, the most that a Unix socket allows"
            )
        _make_way(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        old_mask = os.umask(0o177)
        try:
            self._socket.bind(path)
        except OSError as error:
            self._socket.close()
            raise IxyfwdError(f"cannot listen on {path}: {error.strerror}") from None
        finally:
            os.umask(old_mask)
        self._inode = os.stat(path).st_ino
        self._socket.listen(BACKLOG)

    def fileno(self) -> int:
        """The descriptor of the listening socket."""
        return self._socket.fileno()

    def accept_one(self) -> socket.socket | None:
        """A connection that waits, or None. Raises OSError if it cannot be taken, for lack of descriptors."""
        try:
            return self._socket.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return None

    def close(self) -> None:
        """Close the socket and remove its file, unless another socket has that name by now."""
        self._socket.close()
        with contextlib.suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)


def _make_way(path: str) -> None:
    """Remove a socket file without a listener."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise IxyfwdError(f"cannot listen on {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise UsageError(
            f"cannot listen on {path}: a file that is not a socket is there; remove it or choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its queue of connections is full: a process listens
            pass
        except OSError as error:
            raise IxyfwdError(f"cannot listen on {path}: {error.strerror}") from None
    raise RefusedError(f"cannot listen on {path}: another process listens there; stop it or choose another path")
