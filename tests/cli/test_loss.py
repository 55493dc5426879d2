"""What the drops of a status are put down to, in words."""

from typing import Any

import pytest

from ixyfwd.cli.detail import pauses_grid
from ixyfwd.cli.loss import loss_rows, time_text
from ixyfwd.cli.render import totals_grid
from tests.testing.cli_samples import status, worker

PAUSED = {"pauses": 84, "longest_pause_us": 3123.4, "run_delay_share": 0.005, "paused_share": 0.0049}


def text(**more: Any) -> str:
    return " ".join(line for _, line in loss_rows(status(**more), 56))


def test_pauses_are_told_below_the_causes() -> None:
    found = status(
        drops={"rx_no_descriptor": 570_482, "tx_full": 2753}, drops_in_pauses=571_000, workers=[worker(0, **PAUSED)]
    )
    assert totals_grid(found).lines()[5:-2] == [
        "  dropped            573,235",
        "    rx_no_descriptor 570,482",
        "    tx_full          2,753",
        "    in pauses        about 571,000 while a worker's CPU was away for longer",
        "                     than its ring lasts: 84 pauses, the longest 3.1 ms;",
        "                     behind other processes 0.5 % of the time",
        "                     `ixyfwd doctor --measure` shows who takes the CPU",
    ]


def test_what_is_not_known_is_not_said() -> None:
    assert text() == ""
    assert text(drops_in_pauses=None) == ""
    assert text(drops_in_pauses=0, workers=[worker(0, **{**PAUSED, "pauses": None, "longest_pause_us": None})]) == ""
    one = text(drops_in_pauses=5, workers=[worker(0, pauses=1, longest_pause_us=84.0, run_delay_share=None)])
    assert "1 pause of 84 us `ixyfwd" in one
    assert "other processes" not in one


@pytest.mark.parametrize(
    ("in_pauses", "busy", "said"),
    [
        (10, [0.998], "worker 0 was busy 100 % of the time"),
        (10, [0.97, 0.2], "worker 0 was busy 97 % of the time"),
        (10, [0.96, 0.99], "workers 0, 1 were busy 96 % of the time or more"),
        (600, [0.99], None),  # of 1000: pauses explain it
        (10, [0.5], None),  # not the worker's fault
        (None, [None], None),
    ],
)
def test_a_forwarder_that_is_too_slow_is_told_by_its_data(in_pauses: int, busy: list[float], said: str | None) -> None:
    workers = [worker(index, busy_share=share) for index, share in enumerate(busy)]
    rows = loss_rows(status(drops={"rx_no_descriptor": 1000}, drops_in_pauses=in_pauses, workers=workers), 56)
    found = [line for label, line in rows if label == "  too slow"]
    assert found == ([] if said is None else [said])


def test_times_have_the_unit_that_fits() -> None:
    assert [time_text(us) for us in (84.2, 3123.4, 1_200_000)] == ["84 us", "3.1 ms", "1.2 s"]


def test_pauses_by_worker() -> None:
    found = status(workers=[worker(0, **PAUSED, steal_share=0.0), worker(1)])
    assert pauses_grid(found).lines() == [
        "when its CPU was away for longer than a ring lasts",
        "  # pauses longest paused waited stolen",
        "  0     84  3.1 ms  0.49%  0.50%  0.00%",
        "  1      -       -      -      -      -",
    ]
