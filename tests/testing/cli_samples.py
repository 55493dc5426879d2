"""A status as the supervisor gives it, and a supervisor that gives it, for tests of the command line."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from ixyfwd.config.schema import Config
from ixyfwd.telemetry.plain import from_plain
from ixyfwd.telemetry.snapshot import REPORT_SCHEMA, STATUS_SCHEMA, Report, Snapshot


def worker(index: int, **more: Any) -> dict[str, Any]:
    watches = more.get("pauses") is not None
    return {
        "index": index,
        "cpu": index,
        "pid": 4000 + index,
        "state": "ready",
        "rx_packets": 1_234_567,
        "rx_bytes": 74_074_020,
        "rx_errors": 0,
        "rx_no_buffer": 0,
        "tx_packets": 1_234_560,
        "tx_bytes": 74_073_600,
        "tx_full": 2,
        "polls": 44_215,
        "empty_polls": 5527,
        "bursts": 38_688,
        "busy_ns": 17_592_580,
        "yields": 1234,
        "sleeps": 56,
        "wakeups": 7,
        "pauses": None,
        "paused_ns": 0 if watches else None,
        "longest_pause_ns": 0 if watches else None,
        "traffic": None,
        "busy_ns_per_packet": 14.25,
        "packets_per_burst": 31.9,
        "empty_poll_share": 0.125,
        "longest_pause_us": None,
        "paused_share": None,
        "busy_share": None,
        "run_delay_share": None,
        "steal_share": None,
        "rss_mib": 21.5,
        "restarts": 0,
        "lost": 0,
        "last_death": None,
        **more,
    }


def port(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "device": f"sim:{name}",
        "mac": "02:69:78:79:00:00",
        "chip": "82599 SFP+",
        "reta_entries": 128,
        "link": {"up": True, "speed_mbps": 10000, "reason": ""},
        "rx_packets": 1_234_567,
        "rx_delivered": 1_234_562,
        "rx_bytes": 74_073_720,
        "tx_packets": 1_234_560,
        "tx_bytes": 74_073_600,
        "rx_no_descriptor": 5,
        "rx_missed": 0,
        "rx_errors": 0,
        "rx_too_long": 0,
        "flow_control": {"mode": "off", "xon_received": 0, "xoff_received": 0, "xon_sent": 0, "xoff_sent": 0},
        "wire": {"sink": {"latency_ns": {"p50": 1200, "p99": 3400.5}}, "generator": {"rate": "line"}},
        "faults": {"total": 0, "by_kind": {}, "recent": []},
        "injected": {},
        **more,
    }


def sink(**more: int) -> dict[str, int]:
    sums = ("received", "lost", "reordered", "duplicated", "corrupted", "foreign", "touched", "sent", "shortfall")
    return {**dict.fromkeys(sums, 0), **more}


def status_json(**more: Any) -> dict[str, Any]:
    """As `status --json` prints it."""
    return {
        "schema": STATUS_SCHEMA,
        "instance": "default",
        "state": "running",
        "device": "model",
        "engine": "native",
        "program": "xconnect",
        "loop": "fused",
        "rss": {"key": "symmetric", "fields": ["ipv4", "udp4"]},
        "uptime_s": 12.345,
        "rx_packets": 2_469_134,
        "tx_packets": 2_469_120,
        "drops": {"rx_no_descriptor": 5, "rx_missed": 0, "rx_error": 0, "tx_full": 2, "worker_died": 0},
        "drops_in_pauses": None,
        "in_flight": 7,
        "faults": 0,
        "rate_mpps": 29.7619,
        "rate_rx_mpps": 29.7621,
        "programs": [],
        "workers": [worker(0)],
        "model_process": {"cpu": 1, "pid": 3999, "state": "running", "run_delay_share": 0.0, "steal_share": None},
        "ports": [port("p0"), port("p1")],
        "sink": sink(sent=2_469_139, received=2_469_120),
        "notices": ["no hugepages: ordinary pages are used"],
        **more,
    }


def status(**more: Any) -> Snapshot:
    return from_plain(Snapshot, status_json(**more))


def largest_status() -> Snapshot:
    """Every name as long and every number as large as can be."""
    huge = 10**15 - 1
    numbers = {"rx_packets": huge, "tx_packets": huge, "rx_no_descriptor": huge, "rx_missed": huge}
    many_workers = [
        worker(
            i,
            cpu=8191,
            pid=4194303,
            state="starting",
            rx_packets=huge,
            tx_packets=huge,
            busy_ns_per_packet=123456.7,
            packets_per_burst=4096.0,
            empty_poll_share=1.0,
            yields=huge,
            sleeps=huge,
            wakeups=huge,
            rss_mib=1234.5,
            restarts=huge,
        )
        for i in range(16)
    ]
    ports = [port("x" * 32, device="vfio-user:/" + "y" * 90, **numbers) for _ in range(15)]
    return status(
        instance="i" * 32,
        uptime_s=123456789.123,
        rx_packets=huge,
        tx_packets=huge,
        drops={"rx_no_descriptor": huge, "rx_missed": huge, "rx_error": huge, "tx_full": huge, "worker_died": huge},
        in_flight=huge,
        faults=huge,
        rate_mpps=12345.678,
        rate_rx_mpps=12345.678,
        workers=many_workers,
        ports=ports,
        sink=dict.fromkeys(sink(), huge),
    )


def report_json(**more: Any) -> dict[str, Any]:
    ended = {"schema": REPORT_SCHEMA, "state": "stopped", "in_flight": 0, "reason": "duration over", "error": None}
    more = {
        "exit_code": 0,
        "troubles": [],
        "flows": None,
        "uncounted": 0,
        "incomplete": None,
        "first_packet_s": 0.5,
        **more,
    }
    return status_json(**{**ended, **more})


def report(**more: Any) -> Report:
    return from_plain(Report, report_json(**more))


class FakeSupervisor:
    """Stands in for `supervisor.run` and `supervisor.client`; remembers how it was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        self.report = report()
        self.on_run: Callable[[Any], None] = self._usual
        self.answer: Callable[[str, str], dict[str, Any]] = lambda instance, command: status_json(instance=instance)
        run, client = types.ModuleType("run"), types.ModuleType("client")
        setattr(run, "run_forwarder", self._run)  # noqa: B010 - a module object has no such attribute for mypy
        setattr(client, "request", self._request)  # noqa: B010
        setattr(client, "stop", lambda instance, timeout_s: self._request(instance, "stop", timeout_s))  # noqa: B010
        monkeypatch.setitem(sys.modules, "ixyfwd.supervisor.run", run)
        monkeypatch.setitem(sys.modules, "ixyfwd.supervisor.client", client)

    def _usual(self, observer: Any) -> None:
        observer.notice("no hugepages: ordinary pages are used")
        observer.started(status(rx_packets=0))
        observer.tick(status(uptime_s=1.0))
        observer.tick(status(uptime_s=2.0))
        observer.stopped(self.report)

    def _run(self, config: Config, **options: Any) -> Report:
        self.calls.append({"config": config, **options})
        self.on_run(options["observer"])
        return self.report

    def _request(self, instance: str, command: str, timeout_s: float = 5.0) -> dict[str, Any]:
        self.calls.append({"instance": instance, "command": command, "timeout_s": timeout_s})
        return self.answer(instance, command)
