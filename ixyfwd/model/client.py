"""Steering a model process through its control socket."""

import json
import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, TypedDict

from ixyfwd.errors import DeviceGoneError, DeviceTimeoutError, IxyfwdError
from ixyfwd.model.faults import Faults
from ixyfwd.model.injector import Injected

TIMEOUT_S = 2.0


class PortStats(TypedDict):
    """`wire` is the account of the port's wire; its keys depend on the kind of wire."""

    name: str
    link: bool
    connected: bool
    wire: dict[str, Any]
    faults: Faults
    injected: dict[str, Injected]


class ModelStats(TypedDict):
    """The answer to "stats"."""

    ports: list[PortStats]


class ModelClient:
    """Every method raises DeviceGoneError if the model is gone, DeviceTimeoutError if it does not answer in time, and
    IxyfwdError with the model's own sentence if it could not do what was asked."""

    def __init__(self, path: str, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._inbox = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Blocking with a kernel timeout: a Python timeout would fail at once on a full backlog instead of waiting.
        limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            reason = error.strerror or str(error)
            raise DeviceGoneError(f"the model does not answer on its control socket {path}: {reason}") from None

    def start(self) -> None:
        """Let the wires of all ports feed."""
        self._ask({"do": "start"})

    def stop(self) -> None:
        """Hold the wires back. Frames that the ports send are still taken."""
        self._ask({"do": "stop"})

    def stats(self) -> ModelStats:
        """Wires, links and faults of all ports."""
        answer: Any = self._ask({"do": "stats"})
        stats: ModelStats = answer
        return stats

    def feeds_done(self) -> bool:
        """Whether every finite wire has fed all that it has. Cheap: it keeps the wires waiting for a moment only."""
        done: bool = self._ask({"do": "feeds_done"})["feeds_done"]
        return done

    def flows(self) -> dict[str, list[int]]:
        """For each generator flow that was seen (number as text) the tx queues it came out of, at all ports."""
        flows: dict[str, list[int]] = self._ask({"do": "flows"})["flows"]
        return flows

    def restart_latency(self) -> None:
        """Have the sinks forget the latencies so far."""
        self._ask({"do": "restart_latency"})

    def set_link(self, port: str, up: bool) -> None:
        """Plug or pull the cable of a port. The link comes up a moment after it is plugged in."""
        self._ask({"do": "link", "port": port, "up": up})

    def inject(self, port: str, kind: str, parameters: Mapping[str, object]) -> dict[str, Injected]:
        """Begin to misbehave (model/inject.py); returns all that is or was injected into the port."""
        answer = self._ask({"do": "inject", "port": port, "kind": kind, "parameters": dict(parameters)})
        found: dict[str, Injected] = answer["injected"]
        return found

    def inject_off(self, port: str, kind: str | None = None) -> dict[str, Injected]:
        """End one kind of misbehaviour; None: all, and forget the counts."""
        found: dict[str, Injected] = self._ask({"do": "inject_off", "port": port, "kind": kind})["injected"]
        return found

    def quit(self) -> None:
        """Ask the process to end; returns when it has understood."""
        self._ask({"do": "quit"})

    def close(self) -> None:
        """Harmless when called twice."""
        self._socket.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + self._timeout_s
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._read_line(deadline)
        except TimeoutError:
            self.close()  # a late answer must not be taken for the next one
            raise DeviceTimeoutError(
                f"the model at {self._path} gave no answer to {request['do']!r} within {self._timeout_s:g} s"
            ) from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise DeviceGoneError(f"the model at {self._path} is gone ({reason})") from None
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise IxyfwdError(f"the model at {self._path}: {answer['error']}")
        return answer

    def _read_line(self, deadline: float) -> bytes:
        while b"\n" not in self._inbox:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("it closed the connection")
            self._inbox += data
        line, _, rest = bytes(self._inbox).partition(b"\n")
        self._inbox = bytearray(rest)
        return line
