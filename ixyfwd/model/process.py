"""The model as a process: ports, sockets, and the loop that turns them.

Commands of its control socket (`kit/lineserver.py`): {"do": "start"}, {"do": "stop"}, {"do": "stats"},
{"do": "feeds_done"}, {"do": "flows"}, {"do": "restart_latency"}, {"do": "link", "port": NAME, "up": BOOL},
{"do": "inject", "port": NAME, "kind": KIND, "parameters": {KEY: VALUE}},
{"do": "inject_off", "port": NAME, "kind": KIND} (without a kind: everything), {"do": "quit"}.
"""

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ixyfwd.errors import UsageError
from ixyfwd.kit.heartbeat import Heartbeat
from ixyfwd.kit.jsonlines import required
from ixyfwd.kit.lineserver import LineServer
from ixyfwd.kit.loop import Loop
from ixyfwd.kit.process import Words, freeze_gc, ignore_stop_signals, read_order, run_child, settle, tie_to_parent
from ixyfwd.model.chip.profiles import build_register_map, profile_of
from ixyfwd.model.chip.registers import RegisterMap
from ixyfwd.model.fronts.server import PortServer
from ixyfwd.model.port import SimulatedPort
from ixyfwd.model.spec import ModelSpec, PortSpec

if TYPE_CHECKING:
    from ixyfwd.model.client import ModelStats
    from ixyfwd.model.datapath.binding import Datapath, DatapathPort
    from ixyfwd.model.fronts.polled.front import PolledFront

BUDGET_NS = 1_000_000  # signals and link timers are looked at at least this often


class Model:
    """All ports of a process behind their sockets. Use as a context manager: leaving it removes everything."""

    def __init__(self, spec: ModelSpec, datapath: "Datapath") -> None:
        """Raises IxyfwdError if a socket or a wire cannot be made."""
        self._spec = spec
        self._datapath = datapath
        self._quit = False
        self._fed = [False] * len(spec.ports)
        self._held = False  # over the control socket
        profiles = [profile_of(port.device_id) for port in spec.ports]
        maps = {profile: build_register_map(profile) for profile in set(profiles)}
        self._ports = [
            SimulatedPort(s, d, maps[p]) for s, d, p in zip(spec.ports, datapath.ports, profiles, strict=True)
        ]
        for port_spec, feed in zip(spec.ports, datapath.ports, strict=True):
            feed.plug(port_spec.wire, mac=port_spec.mac)
        self._loop = Loop()
        self._heartbeat = Heartbeat(spec.heartbeat_fd)
        with contextlib.ExitStack() as stack:
            stack.callback(self._heartbeat.close)
            stack.callback(self._loop.close)
            self._servers: list[PortServer | PolledFront] = []
            self._polled: list[PolledFront] = []
            for port, port_spec, feed in zip(self._ports, spec.ports, datapath.ports, strict=True):
                server: PortServer | PolledFront
                if port_spec.directory:
                    server = _polled_front(port, feed, port_spec, maps[profile_of(port_spec.device_id)], self._loop)
                    self._polled.append(server)
                else:
                    server = PortServer(port, port_spec.socket, self._loop)
                stack.callback(server.close)
                self._servers.append(server)
            commands = {
                "start": self._start,
                "stop": self._stop,
                "stats": self._stats,
                "feeds_done": self._feeds_done,
                "flows": self._flows,
                "restart_latency": self._restart_latency,
                "link": self._set_link,
                "inject": self._inject,
                "inject_off": self._inject_off,
                "quit": self._handle_quit,
            }
            control = LineServer(spec.control, self._loop, commands, _say_failure)
            stack.callback(control.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def quit(self) -> None:
        """End `run` at its next round."""
        self._quit = True

    def run(self) -> None:
        """Serve until `quit` is called or asked for."""
        run, fd, share = self._datapath.run, self._loop.fd, self._spec.share_cpu
        beat = self._heartbeat.beat
        while not self._quit:
            beat()
            run(fd, self._budget_ns(), share)
            self._loop.dispatch()
            for port in self._ports:
                port.tick()
            for front in self._polled:
                front.tick()
            if self._spec.feed_by_itself:
                self._follow_receivers()

    def _follow_receivers(self) -> None:
        """Only changes count; nothing feeds while the wires are held over the control socket."""
        for index, (port, feed) in enumerate(zip(self._ports, self._datapath.ports, strict=True)):
            if port.receiving == self._fed[index]:
                continue
            self._fed[index] = not self._fed[index]
            if self._fed[index] and not self._held:
                feed.start_feed()
            else:
                feed.stop_feed()

    def _budget_ns(self) -> int:
        """Shorter while the moderation of an interrupt ends sooner."""
        due = [at for port in self._ports if (at := port.due_ns()) is not None]
        return max(0, min(BUDGET_NS, min(due) - time.monotonic_ns())) if due else BUDGET_NS

    def _start(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self._held = False
        for port in self._datapath.ports:
            port.start_feed()
        return {}

    def _stop(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self._held = True
        for port in self._datapath.ports:
            port.stop_feed()
        return {}

    def _stats(self, request: Mapping[str, Any]) -> "ModelStats":
        feeds = self._datapath.ports
        return {
            "ports": [
                {
                    "name": port.name,
                    "link": port.link_up,
                    "connected": server.connected,
                    "wire": feed.wire_stats(),
                    "faults": port.faults(),
                    "injected": port.injector.report(),
                }
                for port, server, feed in zip(self._ports, self._servers, feeds, strict=True)
            ],
        }

    def _feeds_done(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"feeds_done": all(feed.feed_done() for feed in self._datapath.ports)}

    def _flows(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"flows": {str(flow): list(queues) for flow, queues in self._datapath.flow_queues().items()}}

    def _restart_latency(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        for port in self._datapath.ports:
            port.restart_latency()
        return {}

    def _set_link(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        up = required(request, "up", bool)
        self._port(request).set_cable(up)
        return {}

    def _port(self, request: Mapping[str, Any]) -> SimulatedPort:
        name = required(request, "port", str)
        ports = {port.name: port for port in self._ports}
        if name not in ports:
            raise UsageError(f"there is no port {name!r}, expected one of {', '.join(ports)}")
        return ports[name]

    def _inject(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        injector = self._port(request).injector
        injector.begin(required(request, "kind", str), required(request, "parameters", dict))
        return {"injected": injector.report()}

    def _inject_off(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """One kind, or everything."""
        injector = self._port(request).injector
        if request.get("kind") is None:
            injector.clear()
        else:
            injector.end(required(request, "kind", str))
        return {"injected": injector.report()}

    def _handle_quit(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.quit()
        return {}


def _say_failure(text: str) -> None:
    sys.stderr.write(f"ixyfwd model: {text}\n")


def _polled_front(
    port: SimulatedPort, datapath: "DatapathPort", spec: PortSpec, registers: RegisterMap, loop: Loop
) -> "PolledFront":
    from ixyfwd.model.fronts.polled.front import PolledFront  # noqa: PLC0415 - numpy costs 20 MiB that others need not pay

    return PolledFront(port, datapath, spec, registers, loop=loop)


def main(arguments: Sequence[str]) -> int:
    """`--spec-fd N --ready-fd M`: read the spec, listen, say so, serve. Exit codes are those of `errors`."""
    parent = os.getppid()
    ignore_stop_signals()
    try:
        spec_fd, ready_fd = _descriptors(arguments)
    except UsageError as error:
        print(f"ixyfwd model: {error}", file=sys.stderr)
        return error.exit_code
    words = Words(ready_fd)

    def work() -> None:
        spec = _read_spec(spec_fd)
        settle(spec.cpu, spec.nice)
        tie_to_parent(parent)
        _serve(spec, words)

    return run_child("model", words, work)


def _serve(spec: ModelSpec, words: Words) -> None:
    from ixyfwd.model.datapath.binding import Datapath  # noqa: PLC0415 - memory is touched only when the CPU is chosen

    datapath = Datapath([port.name for port in spec.ports])
    try:
        with Model(spec, datapath) as model:
            freeze_gc()
            # A parent that died before PDEATHSIG was set shows as a broken pipe here, and this process ends.
            words.ready()
            model.run()
    finally:
        datapath.close()


def _descriptors(arguments: Sequence[str]) -> tuple[int, int]:
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    wanted = ("--spec-fd", "--ready-fd")
    if len(arguments) != 4 or any(not given.get(name, "").isdecimal() for name in wanted):
        raise UsageError("usage: python -m ixyfwd.model --spec-fd N --ready-fd M (the supervisor starts it so)")
    return int(given[wanted[0]]), int(given[wanted[1]])


def _read_spec(fd: int) -> ModelSpec:
    try:
        return ModelSpec.from_json(read_order(fd))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"the model's spec on descriptor {fd} cannot be used: {type(error).__name__}: {error}"
        ) from None
