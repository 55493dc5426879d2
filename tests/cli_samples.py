"""A status as the supervisor gives it, and a supervisor that gives it, for tests of the command line."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from ixyfwd.config.schema import Config


def worker(index: int, **more: Any) -> dict[str, Any]:
    return {
        "index": index,
        "cpu": index,
        "pid": 4000 + index,
        "state": "ready",
        "rx_packets": 1_234_567,
        "tx_packets": 1_234_560,
        "busy_ns_per_packet": 14.25,
        "packets_per_burst": 31.9,
        "empty_poll_share": 0.125,
        "yields": 1234,
        "sleeps": 56,
        "wakeups": 7,
        "rss_mib": 21.5,
        **more,
    }


def port(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "device": f"sim:{name}",
        "link": {"up": True, "speed_mbps": 10000},
        "mac": "02:69:78:79:00:00",
        "rx_packets": 1_234_567,
        "rx_bytes": 74_074_020,
        "tx_packets": 1_234_560,
        "tx_bytes": 74_073_600,
        "rx_no_descriptor": 5,
        "rx_missed": 0,
        "wire": {"sink": {"latency_ns": {"p50": 1200, "p99": 3400.5}}, "generator": {"rate": "line"}},
        **more,
    }


def status(**more: Any) -> dict[str, Any]:
    return {
        "instance": "default",
        "state": "running",
        "device": "model",
        "engine": "native",
        "program": "xconnect",
        "uptime_s": 12.345,
        "rx_packets": 2_469_134,
        "tx_packets": 2_469_120,
        "drops": {"rx_no_descriptor": 5, "rx_missed": 0, "tx_full": 2},
        "in_flight": 7,
        "faults": 0,
        "rate_mpps": 29.7619,
        "rate_rx_mpps": 29.7621,
        "workers": [worker(0)],
        "ports": [port("p0"), port("p1")],
        "sink": {"sent": 2_469_139, "received": 2_469_120, "lost": 0, "reordered": 0, "duplicated": 0, "corrupted": 0},
        "notices": ["no hugepages: ordinary pages are used"],
        **more,
    }


def largest_status() -> dict[str, Any]:
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
        sink=dict.fromkeys(("sent", "received", "lost", "reordered", "duplicated", "corrupted"), huge),
    )


def report(**more: Any) -> dict[str, Any]:
    return status(
        **{"state": "stopped", "in_flight": 0, "reason": "duration over", "error": None, "exit_code": 0, **more}
    )


class FakeSupervisor:
    """Stands in for `supervisor.run` and `supervisor.client`; remembers how it was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        self.report = report()
        self.on_run: Callable[[Any], None] = self._usual
        self.answer: Callable[[str, str], dict[str, Any]] = lambda instance, command: status(instance=instance)
        run, client = types.ModuleType("run"), types.ModuleType("client")
        setattr(run, "run_forwarder", self._run)  # noqa: B010 - a module object has no such attribute for mypy
        setattr(client, "request", self._request)  # noqa: B010
        monkeypatch.setitem(sys.modules, "ixyfwd.supervisor.run", run)
        monkeypatch.setitem(sys.modules, "ixyfwd.supervisor.client", client)

    def _usual(self, observer: Any) -> None:
        observer.notice("no hugepages: ordinary pages are used")
        observer.started(status(rx_packets=0))
        observer.tick(status(uptime_s=1.0))
        observer.tick(status(uptime_s=2.0))
        observer.stopped(self.report)

    def _run(self, config: Config, **options: Any) -> dict[str, Any]:
        self.calls.append({"config": config, **options})
        self.on_run(options["observer"])
        return self.report

    def _request(self, instance: str, command: str, timeout_s: float = 5.0) -> dict[str, Any]:
        self.calls.append({"instance": instance, "command": command, "timeout_s": timeout_s})
        return self.answer(instance, command)
