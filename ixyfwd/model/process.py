"""The model as a process: ports, sockets, and the loop that turns them.

Commands of its control socket (`kit/lineserver.py`): {"do": "start"}, {"do": "stop"}, {"do": "stats"},
{"do": "feeds_done"}, {"do": "flows"}, {"do": "restart_latency"}, {"do": "link", "port": NAME, "up": BOOL},
{"do": "inject", "port": NAME, "kind": KIND, "parameters": {KEY: VALUE}},
{"do": "inject_off", "port": NAME, "kind": KIND} (without a kind: everything), {"do": "quit"}.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.kit.jsonlines import required
from ixyfwd.kit.lineserver import LineServer
from ixyfwd.kit.loop import Loop
from ixyfwd.model.port import Port
from ixyfwd.model.profiles import build_register_map, profile_of
from ixyfwd.model.registers import RegisterMap
from ixyfwd.model.server import PortServer
from ixyfwd.model.spec import ModelSpec, PortSpec

if TYPE_CHECKING:
    from ixyfwd.model.client import ModelStats
    from ixyfwd.model.datapath import Datapath, DatapathPort
    from ixyfwd.model.polled.front import PolledFront

BUDGET_NS = 1_000_000  # signals and link timers are looked at at least this often
PR_SET_PDEATHSIG = 1
SPEC_LIMIT_BYTES = 1 << 20


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
        self._ports = [Port(s, d, maps[p]) for s, d, p in zip(spec.ports, datapath.ports, profiles, strict=True)]
        for port_spec, feed in zip(spec.ports, datapath.ports, strict=True):
            feed.plug(port_spec.wire, mac=port_spec.mac)
        self._loop = Loop()
        with contextlib.ExitStack() as stack:
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
        """Serve until somebody asks to quit."""
        run, fd, share = self._datapath.run, self._loop.fd, self._spec.share_cpu
        while not self._quit:
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

    def _port(self, request: Mapping[str, Any]) -> Port:
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
    print(f"ixyfwd model: {text}", file=sys.stderr)


def _polled_front(
    port: Port, datapath: "DatapathPort", spec: PortSpec, registers: RegisterMap, loop: Loop
) -> "PolledFront":
    from ixyfwd.model.polled.front import PolledFront  # noqa: PLC0415 - numpy costs 20 MiB that others need not pay

    return PolledFront(port, datapath, spec, registers, loop=loop)


def main(arguments: Sequence[str]) -> int:
    """`--spec-fd N --ready-fd M`: read the spec, listen, say so, serve. The exit code is as in DESIGN.md."""
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGHUP):  # they reach the terminal's whole group; the supervisor decides
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until there is a loop to leave in good order
    try:
        spec_fd, ready_fd = _descriptors(arguments)
    except UsageError as error:
        print(f"ixyfwd model: {error}", file=sys.stderr)
        return error.exit_code
    words = _Words(ready_fd)
    try:
        spec = _read_spec(spec_fd)
        _settle_process(spec.cpu, spec.nice, parent)
        _serve(spec, words)
    except IxyfwdError as error:
        return _report_failure(words, str(error), error.exit_code)
    except Exception as error:  # the supervisor shows this one sentence
        return _report_failure(words, f"the model failed: {type(error).__name__}: {error}", 1)
    return 0


class _Words:
    """The one line for whoever started the process; later ones go nowhere."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def say(self, words: Mapping[str, Any]) -> bool:
        """Whether somebody was told. Raises BrokenPipeError if nobody listens any more."""
        if self._fd is None:
            return False
        fd, self._fd = self._fd, None
        try:
            os.write(fd, json.dumps(words).encode() + b"\n")
        finally:
            os.close(fd)
        return True


def _serve(spec: ModelSpec, words: _Words) -> None:
    from ixyfwd.model.datapath import Datapath  # noqa: PLC0415 - memory is touched only when the CPU is chosen

    datapath = Datapath([port.name for port in spec.ports])
    try:
        with Model(spec, datapath) as model:
            signal.signal(signal.SIGTERM, lambda *_: model.quit())
            gc.collect()
            gc.freeze()
            gc.disable()
            # A parent that died before PDEATHSIG was set shows as a broken pipe here, and this process ends.
            words.say({"ready": True})
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
        with os.fdopen(fd, "rb") as file:
            return ModelSpec.from_json(json.loads(file.read(SPEC_LIMIT_BYTES)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"the model's spec on descriptor {fd} cannot be used: {type(error).__name__}: {error}"
        ) from None


def _settle_process(cpu: int | None, nice: int, parent: int) -> None:
    """CPU before memory, so that pages come from the right node; and never outlive the supervisor."""
    if cpu is not None:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError as error:
            raise UsageError(f"the model cannot run on CPU {cpu}: {error.strerror}") from None
    if nice:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        except PermissionError:
            raise UsageError(f"the model: [cpu] nice = {nice} needs root or CAP_SYS_NICE") from None
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise IxyfwdError(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        raise IxyfwdError("the process that started the model is gone")


def _report_failure(words: _Words, sentence: str, exit_code: int) -> int:
    told = False
    with contextlib.suppress(OSError):
        told = words.say({"error": sentence, "exit_code": exit_code})
    if not told:  # whoever was told shows it; once is enough
        print(f"ixyfwd model: {sentence}", file=sys.stderr)
    return exit_code
