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


if __name__ == "__main__":
    BASELINE.write_text(json.dumps({"compiler": compiler(), "instructions_per_packet": count_all()}, indent=4) + "\n")
    print(BASELINE.read_text(encoding="utf-8"))
