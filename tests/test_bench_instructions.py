"""The regression gate of the hot path: instructions per packet under callgrind, which load on the machine cannot move.

`python -m tests.test_bench_instructions` writes the baseline anew; commit it with the change that explains it.
"""

import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ixyfwd.bench.cost import Case, count_instructions
from ixyfwd.bench.interpreted import count_loop_instructions

BASELINE = Path(__file__).with_name("instructions.json")
ALLOWED = 0.03  # more than this above the baseline fails; as much below it asks for a new baseline
CASES = [
    Case("native", loop, program, batch, 512)
    for loop, program, batch in (
        ("fused", "touch", 1),
        ("fused", "touch", 32),
        ("fused", "touch", 256),
        ("fused", "xconnect", 32),
        ("python", "touch", 32),
        ("python", "xconnect", 256),
    )
]


def compiler() -> str:
    """The C compiler and its version: another one makes other code."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return "no gcc"
    said = subprocess.run([gcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return f"gcc {found[0]}" if found else said.splitlines()[0]


def count_all() -> dict[str, float]:
    """By case. Two at a time: nothing here depends on time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(map(str, CASES), pool.map(count_instructions, CASES), strict=True))


@pytest.mark.slow
def test_a_packet_takes_no_more_instructions_than_it_did() -> None:
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    if compiler() != baseline["compiler"]:
        pytest.skip(f"the baseline is of {baseline['compiler']}, this machine has {compiler()}")
    if shutil.which("valgrind") is None:
        pytest.skip("there is no valgrind on this machine")
    assert count_all() == pytest.approx(baseline["instructions_per_packet"], rel=ALLOWED)


@pytest.mark.slow
def test_the_python_loop_costs_no_more_than_a_few_times_its_bursts() -> None:
    """How many the interpreter takes depends on how it was compiled, so there is no baseline. With calls through cffi
    it is nine times the bursts at batch 1."""
    if shutil.which("valgrind") is None:
        pytest.skip("there is no valgrind on this machine")
    small, large = (Case("native", "python", "touch", batch, 512) for batch in (1, 32))
    with ThreadPoolExecutor(2) as pool:
        bursts = pool.submit(count_instructions, small)
        whole, whole_large = pool.map(count_loop_instructions, (small, large))
    assert bursts.result() < whole < 4 * bursts.result()
    assert whole_large < whole / 4, "the price of a call is one of bursts, not of frames"


if __name__ == "__main__":
    BASELINE.write_text(json.dumps({"compiler": compiler(), "instructions_per_packet": count_all()}, indent=4) + "\n")
    print(BASELINE.read_text(encoding="utf-8"))
