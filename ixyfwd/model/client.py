"""Steering a model process through its control socket."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ixyfwd.errors import DeviceGoneError, DeviceTimeoutError
from ixyfwd.kit.lineclient import LineClient, Peer
from ixyfwd.model.chip.faults import Faults
from ixyfwd.model.inject.injector import Injected

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
    """The control socket of a model process, as its clients use it.

    Every method raises DeviceGoneError if the model is gone, DeviceTimeoutError if it does not answer in time, and
    IxyfwdError with the model's own sentence if it could not do what was asked."""

    def __init__(self, path: str, timeout_s: float = TIMEOUT_S) -> None:
        peer = Peer(
            name=f"the model at {path}",
            absent="the model does not answer on its control socket",
            advice="see whether its process still runs",
            gone=DeviceGoneError,
            late=DeviceTimeoutError,
        )
        self._line = LineClient(path, peer, timeout_s)
        self._line.connect()

    def start(self) -> None:
        """Let the wires of all ports feed."""
        self._line.request("start")

    def stop(self) -> None:
        """Hold the wires back. Frames that the ports send are still taken."""
        self._line.request("stop")

    def stats(self) -> ModelStats:
        """Wires, links and faults of all ports."""
        answer: Any = self._line.request("stats")
        stats: ModelStats = answer
        return stats

    def feeds_done(self) -> bool:
        """Whether every finite wire has fed all that it has. Cheap: it keeps the wires waiting for a moment only."""
        done: bool = self._line.request("feeds_done")["feeds_done"]
        return done

    def flows(self) -> dict[str, list[int]]:
        """For each generator flow that was seen (number as text) the tx queues it came out of, at all ports."""
        flows: dict[str, list[int]] = self._line.request("flows")["flows"]
        return flows

    def restart_latency(self) -> None:
        """Have the sinks forget the latencies so far."""
        self._line.request("restart_latency")

    def set_link(self, port: str, up: bool) -> None:
        """Plug or pull the cable of a port. The link comes up a moment after it is plugged in."""
        self._line.request("link", port=port, up=up)

    def inject(self, port: str, kind: str, parameters: Mapping[str, object]) -> dict[str, Injected]:
        """Begin to misbehave (model/inject/kinds.py); returns all that is or was injected into the port."""
        answer = self._line.request("inject", port=port, kind=kind, parameters=dict(parameters))
        found: dict[str, Injected] = answer["injected"]
        return found

    def inject_off(self, port: str, kind: str | None = None) -> dict[str, Injected]:
        """End one kind of misbehaviour; None: all, and forget the counts."""
        found: dict[str, Injected] = self._line.request("inject_off", port=port, kind=kind)["injected"]
        return found

    def quit(self) -> None:
        """Ask the process to end; returns when it has understood."""
        self._line.request("quit")

    def close(self) -> None:
        """Close the connection; a second call has no effect."""
        self._line.close()
