"""What tests of the bench share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import run

GOOD_REPORT: Mapping[str, Any] = {
    "error": None, "sink": {}, "rx_packets": 5, "tx_packets": 5, "drops": {}, "in_flight": 0, "device": "model",
    "rate_mpps": 1.0, "reason": "duration over",
    "workers": [{"rx_packets": 5, "busy_ns_per_packet": 10.0, "packets_per_burst": 2.0, "empty_poll_share": 0.5,
                 "rss_mib": 15.0}],
}  # fmt: skip


def quiet(text: str) -> None:
    """Progress that nobody sees."""


def git(root: Path, *words: str) -> str:
    """The output of `git WORDS` in a checkout, by a committer that every machine has; it must succeed."""
    done = run("git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@localhost", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
