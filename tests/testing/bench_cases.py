"""What tests of the bench share."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ixyfwd.bench.result import SCHEMA
from tests.testing.support import IXYFWD, run

FIELDS = {"engine", "loop", "program", "batch", "ring", "frame_bytes", "workers", "device", "runs"}
SPREAD = {"median", "min", "max"}

GOOD_REPORT: Mapping[str, Any] = {
    "error": None, "incomplete": None, "sink": {}, "rx_packets": 5, "tx_packets": 5, "drops": {}, "in_flight": 0,
    "device": "model", "rate_mpps": 1.0, "reason": "duration over",
    "workers": [{"rx_packets": 5, "busy_ns_per_packet": 10.0, "packets_per_burst": 2.0, "empty_poll_share": 0.5,
                 "rss_mib": 15.0, "last_death": None}],
}  # fmt: skip


def quiet(text: str) -> None:
    """Progress that is not shown."""


def git(root: Path, *words: str) -> str:
    """The output of `git WORDS` in a checkout, by a committer that every machine has; it must succeed."""
    done = run("git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@localhost", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bench(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
    done = run(*IXYFWD, "bench", *arguments, "--json", timeout_s=120)
    assert done.returncode == exit_code, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def check_bench_schema(found: Mapping[str, Any], command: str) -> None:
    assert found["schema"] == SCHEMA
    assert found["command"] == command
    assert {"cpu", "kernel", "python", "numpy", "governor", "ixyfwd", "commit", "load_average"} <= set(
        found["environment"]
    )
    for row in found["rows"]:
        assert set(row) >= FIELDS
        assert row["device"] in ("model", "wire")
        for key in ("mpps", "ns_per_packet"):
            assert set(row[key]) == SPREAD
            assert 0 < row[key]["min"] <= row[key]["median"] <= row[key]["max"]
