"""What tests of the bench share."""

from collections.abc import Mapping
from typing import Any

GOOD_REPORT: Mapping[str, Any] = {
    "error": None, "sink": {}, "rx_packets": 5, "tx_packets": 5, "drops": {}, "in_flight": 0, "device": "model",
    "rate_mpps": 1.0, "reason": "duration over",
    "workers": [{"rx_packets": 5, "busy_ns_per_packet": 10.0, "packets_per_burst": 2.0, "empty_poll_share": 0.5,
                 "rss_mib": 15.0}],
}  # fmt: skip
