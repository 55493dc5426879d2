"""A role that the project does not have: a folder, what opens it, and nothing else."""

import json
import sys
from pathlib import Path

import pytest

from tests.testing import toys

FILES = {
    "__init__.py": '"""Tally: frames that arrive are counted by their length, and freed."""\n',
    "order.py": '''"""What a worker that tallies is asked to do."""

from dataclasses import dataclass
from typing import ClassVar

from ixyfwd.roles.contract import PortLimits, RoleOrder


@dataclass(frozen=True)
class Order(RoleOrder[dict[str, int]]):
    role: ClassVar = "tally"
    command: ClassVar = "tally"

    up_to: int
    count: int
    family: str = ""

    def refusal(self, limits: PortLimits) -> str | None:
        return f"tallies are for family {self.family}" if self.family not in {"", limits.family} else None
''',
    "worker.py": '''"""A worker that tallies."""

from ixyfwd.roles.tally.order import Order
from ixyfwd.roles.work import Step, Work, Workplace
from ixyfwd.telemetry.counters import Word


def begin(order: Order, workplace: Workplace) -> Work:
    engine, page = workplace.engine, workplace.page
    batch = engine.new_batch(workplace.batch)
    left = order.count

    def tally() -> int:
        nonlocal left
        n = batch.count
        for id_, length in zip(batch.ids[:n].tolist(), batch.lengths[:n].tolist(), strict=True):
            if not left:
                page[Word.SURPLUS] += 1
            else:
                left -= 1
                page[Word.WRITTEN if length <= order.up_to else Word.FILTERED] += 1
            engine.pool.push(id_)
        batch.count = 0
        page[Word.DONE] = not left
        return n

    return [Step(engine.rx(0).bind(batch), None, tally)]
''',
    "report.py": '''"""The account of a run that tallied."""

from ixyfwd.roles.report import words_of
from ixyfwd.roles.tally.order import Order
from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.snapshot import Report


def report_of(order: Order, run: Report) -> dict[str, int]:
    words = words_of(run)
    return {
        "received": run.rx_packets,
        "short": words[Word.WRITTEN],
        "long": words[Word.FILTERED],
        "after": words[Word.SURPLUS],
        "dropped": sum(run.drops.values()),
        "in_flight": run.in_flight,
        "exit_code": run.exit_code,
    }
''',
}

# What a command of its own would do.
OPEN = """
import json, sys
from pathlib import Path
from ixyfwd.cli.live import PlainWatcher
from ixyfwd.config.machine import this_machine
from ixyfwd.config.single import PortChoice, own_instance, single_port
from ixyfwd.errors import UsageError
from ixyfwd.model.wires.registry import no_wire
from ixyfwd.roles.tally.order import Order
from ixyfwd.supervisor.run import run_role

wire = "generator:flows=3,frame=[64, 1518],rate=20000,full=wait"
choice = PortChoice("sim:p0", None, None, wire, sys.argv[1], own_instance("toy"))
try:
    order = Order(up_to=60, count=1000, family=sys.argv[2])
    print(json.dumps(run_role(single_port(choice, no_wire(), this_machine()), order, 60.0, PlainWatcher(sys.stderr))))
except UsageError as error:
    raise SystemExit(f"refused: {error}")
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the role in it. Nothing is compiled."""
    top = toys.copy_tree(tmp_path_factory.mktemp("toy"), "ixyfwd")
    for name, text in FILES.items():
        path = top / "ixyfwd" / "roles" / "tally" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "vector"])
def test_a_worker_does_what_it_is_asked_and_every_sum_closes(copy: Path, engine: str) -> None:
    done = toys.run_in(copy, sys.executable, "-c", OPEN, engine, "")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["exit_code"] == 0
    assert report["short"] + report["long"] == 1000
    assert abs(report["short"] - report["long"]) <= 3  # each flow has both lengths in turn
    parts = ("short", "long", "after", "dropped", "in_flight")
    assert report["received"] == sum(report[part] for part in parts)


@pytest.mark.slow
def test_it_refuses_a_port_that_it_cannot_use(copy: Path) -> None:
    done = toys.run_in(copy, sys.executable, "-c", OPEN, "native", "other")
    assert done.returncode == 1
    assert done.stderr.startswith("refused: port p0 (vfio-user:")
    assert done.stderr.endswith("): tallies are for family other\n")
