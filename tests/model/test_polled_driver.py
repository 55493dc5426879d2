"""The polled front end with drivers in processes of their own, which know a directory and nothing of the model."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.memory.hugepages import hugepages_free
from ixyfwd.model.client import ModelClient
from tests.testing.support import IXYFWD, ROOT, eventually, report_of, run

pytestmark = pytest.mark.root

PAGES = 4  # what a driver takes, and one to spare
COUNT = 2000
ALL_OF = f"generator:rate=max,count={COUNT},flows=8"
ENDLESS = "generator:rate=20000,flows=8"
GARBAGE = """
import mmap, os, random, sys
chance = random.Random(int(sys.argv[1]))
for device in sys.argv[2:]:
    fd = os.open(device + "/resource0", os.O_RDWR)
    bar = memoryview(mmap.mmap(fd, os.fstat(fd).st_size)).cast("I")
    config = os.open(device + "/config", os.O_RDWR)
    for _ in range(30000):
        word = chance.choice((chance.randrange(len(bar)), chance.randrange(0x5800), 0x1028 // 4, 0x6028 // 4))
        bar[word] = chance.choice((0, 1 << 25, 0xFFFFFFFF, chance.getrandbits(32)))
        if chance.random() < 0.002:
            os.pwrite(config, bytes([chance.getrandbits(8)]), chance.randrange(4096))
            bar[0x6018 // 4] = chance.getrandbits(4)
"""


@pytest.fixture
def huge(tmp_path: Path) -> Iterator[Path]:
    """A hugetlbfs of our own."""
    if hugepages_free() < PAGES:
        pytest.skip(f"needs {PAGES} free hugepages of 2 MiB")
    folder = tmp_path / "huge"
    folder.mkdir()
    mounted = run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", str(folder))
    if mounted.returncode:
        pytest.skip(f"cannot mount a hugetlbfs: {mounted.stderr.strip()}")
    yield folder
    assert run("umount", str(folder)).returncode == 0


class Lab:
    """A model with two device directories, and drivers for them."""

    def __init__(self, folder: Path, huge: Path, wire: str) -> None:
        self.huge = huge
        self.devices = [folder / "dev0", folder / "dev1"]
        ports = [word for device in self.devices for word in ("--port", f"sysfs:{device}", "--wire", wire)]
        self.drivers: list[subprocess.Popen[str]] = []
        self.model = self._run(*IXYFWD, "model", *ports, "--json", "--control", str(folder / "control"))
        eventually((folder / "control").exists, "the model listens")
        self.client = ModelClient(str(folder / "control"))

    def _run(self, *command: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)

    def drive(self) -> subprocess.Popen[str]:
        """A driver that has brought both links up and forwards."""
        program = ("-m", "tests.testing.polled_driver", str(self.huge), *map(str, self.devices))
        driver = self._run(sys.executable, *program)
        self.drivers.append(driver)
        assert driver.stdout is not None
        first = driver.stdout.readline()
        assert first == "up\n", driver.communicate()
        return driver

    def finish(self, driver: subprocess.Popen[str]) -> list[dict[str, int]]:
        """What the driver says it did, port by port."""
        out, err = driver.communicate(timeout=30)
        assert driver.returncode == 0, err
        reports: list[dict[str, int]] = json.loads(out)
        return reports

    def received(self) -> int:
        """Frames that all sinks have."""
        return sum(port["wire"]["sink"]["received"] for port in self.client.stats()["ports"])

    def faults(self) -> list[dict[str, Any]]:
        return [dict(port["faults"]) for port in self.client.stats()["ports"]]

    def end(self) -> tuple[int, dict[str, Any]]:
        """Exit code and report of the model; its directories are gone."""
        self.model.send_signal(signal.SIGTERM)
        out, err = self.model.communicate(timeout=30)
        assert not any(device.exists() for device in self.devices), err
        return self.model.returncode, report_of(out)

    def clean_up(self) -> None:
        self.client.close()
        for process in (*self.drivers, self.model):
            process.kill()
            process.communicate()


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path, huge: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, huge, getattr(request, "param", ALL_OF))
    yield made
    made.clean_up()


def test_a_sysfs_driver_forwards_both_ways_and_every_frame_is_accounted_for(lab: Lab) -> None:
    driver = lab.drive()
    eventually(lambda: lab.received() == 2 * COUNT, "all frames came back")
    assert [port["connected"] for port in lab.client.stats()["ports"]] == [True, True]
    left, right = lab.finish(driver)
    assert (left["rx"], right["tx"]) == (left["GPRC"], right["GPTC"]) == (COUNT, COUNT)
    assert (right["rx"], left["tx"]) == (right["GPRC"], left["GPTC"]) == (COUNT, COUNT)
    assert left["dropped"] == left["full"] == right["dropped"] == right["full"] == 0
    assert left["GOTCL"] == right["GOTCL"] == 64 * COUNT
    assert left["GORCL"] == right["GORCL"] == 60 * COUNT  # without CRC, which is stripped
    code, report = lab.end()
    assert (code, report["faults"]) == (0, 0), report["recent_faults"]
    for port in report["ports"]:
        sink = port["wire"]["sink"]
        assert port["wire"]["generator"]["sent"] == sink["received"] == COUNT
        assert not any(sink[trouble] for trouble in ("lost", "reordered", "duplicated", "corrupted", "foreign"))


@pytest.mark.parametrize("lab", [ENDLESS], indirect=True)
def test_a_killed_driver_leaves_nothing_and_the_next_one_forwards(lab: Lab) -> None:
    driver = lab.drive()
    eventually(lambda: lab.received() > 100, "it forwards")
    free = hugepages_free()
    driver.kill()
    driver.wait()
    eventually(lambda: not any(port["connected"] for port in lab.client.stats()["ports"]), "the model has noticed")
    assert hugepages_free() == free + PAGES - 1
    for device in lab.devices:
        assert (device / "resource0").read_bytes()[0x3000:0x3004] == bytes(4), "RXEN is still set"
        assert (device / "config").read_bytes()[4] & 4 == 0, "bus mastering is still on"
    before = lab.received()
    driver = lab.drive()
    eventually(lambda: lab.received() > before + 100, "the next one forwards")
    lab.client.stop()
    reports = lab.finish(driver)
    assert lab.received() - before == sum(report["tx"] for report in reports)
    for report in reports:
        assert report["GPTC"] == report["tx"]
    assert reports[0]["rx"] + reports[1]["rx"] == sum(report["tx"] + report["full"] for report in reports)
    code, report = lab.end()
    assert (code, report["faults"]) == (0, 0), report["recent_faults"]


def test_a_driver_that_writes_garbage_harms_only_itself(lab: Lab) -> None:
    lab.client.stop()  # garbage may switch reception on, and what comes then is lost
    for seed in range(2):
        done = run(sys.executable, "-c", GARBAGE, str(seed), *map(str, lab.devices))
        assert done.returncode == 0, done.stderr
    eventually(lambda: not any(port["connected"] for port in lab.client.stats()["ports"]), "the model has noticed")
    before = [faults["total"] for faults in lab.faults()]
    driver = lab.drive()
    lab.client.start()
    eventually(lambda: lab.received() == 2 * COUNT, "all frames came back")
    assert [report["tx"] for report in lab.finish(driver)] == [COUNT, COUNT]
    assert [faults["total"] for faults in lab.faults()] == before
    assert lab.model.poll() is None


def test_memory_that_no_driver_has_is_a_fault(lab: Lab) -> None:
    """The model looks for it once, and then says so."""
    program = """
import mmap, os, sys
from pathlib import Path
from tests.testing.polled_driver import *
port = Port(Path(sys.argv[2]))
rings = Memory(Path(sys.argv[1]), 0)
port.reset_and_init(rings, 0, [0x7000000000 + 2048 * n for n in range(ENTRIES)])
sys.stdin.read()
"""
    driver = subprocess.Popen(
        (sys.executable, "-c", program, str(lab.huge), str(lab.devices[0])), stdin=subprocess.PIPE, cwd=ROOT
    )
    lab.drivers.append(driver)  # type: ignore[arg-type]
    faults = eventually(lambda: next(iter(found := lab.faults()))["total"] and found, "the fault is recorded")
    assert set(faults[0]["by_kind"]) == {"dma_unmapped"}
    assert 0x7000000000 <= faults[0]["recent"][0]["address"] < 0x7000000000 + 2048 * 128
    assert faults[1]["total"] == 0
    code, report = lab.end()
    assert (code, os.path.exists(lab.devices[0])) == (1, False)
    assert report["faults_by_kind"].keys() == {"dma_unmapped"}
