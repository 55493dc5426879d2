"""Clients of a control socket that still wait for an answer when its server has closed."""

import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ixyfwd.kit.jsonlines import dump_line

LAST_ANSWER_S: Final = 0.5  # for all clients together; only an answer longer than a socket buffer needs it


class Waiting:
    """Connections that all get the same, last answer."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        """Take over `sockets`, which do not block and have nothing else to send."""
        self._sockets = list(sockets)

    def answer(self, answer: Mapping[str, Any], timeout_s: float = LAST_ANSWER_S) -> None:
        """Give the answer and hang up.

        A client that does not read delays this by `timeout_s` seconds at most, and only
        if the answer is longer than its socket buffer.
        """
        data = dump_line(answer)
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            for sock in self._sockets:
                rest = _send(sock, memoryview(data))
                if rest:
                    selector.register(sock, selectors.EVENT_WRITE, rest)
            while selector.get_map() and (left_s := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    rest = _send(key.fileobj, key.data)
                    if rest:
                        selector.modify(key.fileobj, selectors.EVENT_WRITE, rest)
                    else:
                        selector.unregister(key.fileobj)
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()


def _send(sock: Any, data: memoryview) -> memoryview:
    """The bytes that are left to send; none if the peer is gone."""
    try:
        return data[sock.send(data, socket.MSG_NOSIGNAL) :]
    except BlockingIOError:
        return data
    except OSError:
        return data[:0]
