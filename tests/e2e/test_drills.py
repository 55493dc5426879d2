"""The drills, once each: counts are asserted, times are not."""

import json

import pytest

from tests.testing.support import ROOT, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["native", "vector"])
def test_every_count_of_every_drill_is_right(engine: str) -> None:
    options = ("--json", "--runs", "1", "--workers", "2", "--rate", "5000", "--engine", engine)
    done = run(str(ROOT / "scripts" / "drills"), *options, timeout_s=600)
    assert done.returncode == 0, done.stderr
    rows = {row["drill"]: row for row in json.loads(done.stdout.splitlines()[-1])["drills"]}
    assert all(row["in"] > 0 and row["error"] is None for row in rows.values())
    assert all(row["back_ms"] for name, row in rows.items() if not name.endswith("at-stop"))


def test_a_wrong_name_is_one_sentence() -> None:
    done = run(str(ROOT / "scripts" / "drills"), "no-such-drill")
    assert done.returncode == 2 and "no such drill: no-such-drill" in done.stderr
