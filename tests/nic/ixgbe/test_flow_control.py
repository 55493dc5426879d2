"""Flow control: what each setting writes, and that two runs at the two ends of a cable lose nothing between them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.nic.options import FlowControl, PortOptions
from tests.testing.driver_fake import FakeFunction, bring_up, port
from tests.testing.model_command import Model, StartModel, model_commands
from tests.testing.support import (
    Instance,
    assert_exact,
    assert_forwarded_sum,
    config_text,
    eventually,
    report_of,
    start_for_report,
    write_config,
)

FCTTV, FCRTL, FCRTH, FCRTV, FCCFG, MFLCN, SRRCTL0 = 0x3200, 0x3220, 0x3260, 0x32A0, 0x3D00, 0x4294, 0x1014
DROP_EN = 1 << 28


@pytest.mark.parametrize(("device", "buffer_bytes"), [(0x10FB, 512 << 10), (0x1528, 384 << 10)])
@pytest.mark.parametrize("wanted", FlowControl, ids=lambda wanted: wanted.value)
def test_registers(wanted: FlowControl, device: int, buffer_bytes: int) -> None:
    """4.6.3.2: thresholds from the packet buffer's size; DROP_EN off where the packet buffer must fill."""
    driver, function, _ = port(FakeFunction(device))
    bring_up(driver, PortOptions(flow_control=wanted))
    asks, heeds = wanted in (FlowControl.TX, FlowControl.FULL), wanted in (FlowControl.RX, FlowControl.FULL)
    value = function.registers
    assert value[FCCFG] == (1 << 3 if asks else 0)
    assert value[MFLCN] == 2 | (1 << 3 if heeds else 0)  # DPF: what is heeded goes no further
    assert value[FCRTH] == buffer_bytes - 0x6000 | (1 << 31 if asks else 0)
    assert value[FCRTL] == (10 << 10 | 1 << 31 if asks else 0)
    assert [value[FCTTV + 4 * n] for n in range(4)] == [0xFFFFFFFF if asks else 0] * 4
    assert value[FCRTV] == (0x7FFF if asks else 0)
    assert not any(value[base + 4 * n] for base in (FCRTL, FCRTH) for n in range(1, 8))
    assert bool(value[SRRCTL0] & DROP_EN) == (not asks) == (not driver.frames_wait)


def test_longer_frames_leave_more_room_above_and_more_to_go_on_with() -> None:
    driver, function, _ = port()
    bring_up(driver, PortOptions(flow_control=FlowControl.FULL, max_frame_bytes=9018))
    longer = 4 * (9018 - 1518)
    assert function.registers[FCRTH] & ~(1 << 31) == (512 << 10) - 0x6000 - longer - (32 - longer % 32) % 32
    assert function.registers[FCRTL] & ~(1 << 31) == (10 << 10) + longer - longer % 32


FRAMES = 1100
RING = 512


@pytest.fixture
def start(folder: Path) -> Iterator[StartModel]:
    with model_commands(folder) as found:
        yield found


def config(model: Model, first: int, flow_control: str) -> str:
    """Two linked ports of the stand-alone model, `first` and the one after it."""
    ports = "".join(
        f'[[port]]\nname = "p{n}"\ndevice = "vfio-user:{model.sockets[n]}"\nflow_control = "{flow_control}"\n'
        for n in (first, first + 1)
    )
    links = f'[[link]]\nports = ["p{first}", "p{first + 1}"]\n'
    more = f"[cpu]\nworkers = 1\nshare = true\n[forward]\nring_size = {RING}\n"
    return write_config(model.folder / f"{first}.toml", ports + links + more)


@pytest.fixture
def pair(instance: Instance) -> Iterator[tuple[Instance, Instance]]:
    """The sender's run and the receiver's."""
    other = Instance(instance.name + "b")
    try:
        yield instance, other
    finally:
        other.clean_up()


def counters(instance: Instance, name: str) -> dict[str, Any]:
    """A port's row of the status."""
    found: dict[str, Any] = next(row for row in instance.status()["ports"] if row["name"] == name)
    return found


@pytest.mark.parametrize("mode", ["off", "full"])
def test_a_receiver_that_stands_still(start: StartModel, pair: tuple[Instance, Instance], mode: str) -> None:
    """A generator's frames through one run, over a cable, into a run whose worker stands still meanwhile. They are more
    than the receiver's ring and packet buffer hold, and fewer than these and the sender's tx ring together."""
    sender, receiver = pair
    feed = f"generator:frame=1518,flows=1,rate=20000,count={FRAMES},full=wait"
    model = start("--mmap", wires=(feed, "cable:p2", "cable:p1", "none"))
    late = receiver.start("-c", config(model, 2, mode), "--json")
    worker = receiver.status()["workers"][0]["pid"]
    os.kill(worker, signal.SIGSTOP)
    try:
        early = sender.start("-c", config(model, 0, mode), "--json")
        eventually(lambda: counters(sender, "p0")["rx_packets"] == FRAMES, "the generator has sent all")
        if mode == "full":
            eventually(lambda: counters(sender, "p1")["flow_control"]["xoff_received"], "the receiver asks for a pause")
            assert counters(sender, "p1")["tx_packets"] < FRAMES
        else:
            eventually(lambda: counters(receiver, "p2")["rx_packets"] == FRAMES, "the cable has carried all")
    finally:
        os.kill(worker, signal.SIGCONT)
    taken = FRAMES if mode == "full" else RING - 1
    eventually(lambda: receiver.status()["workers"][0]["rx_packets"] == taken, "the receiver has taken what it kept")
    reports = []
    for run, process in ((sender, early), (receiver, late)):
        run.command("stop")
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        reports.append(report_of(out))
    sent, received = reports
    for report in reports:
        assert_forwarded_sum(report)
    assert sum(sent["drops"].values()) == 0 and sent["tx_packets"] == FRAMES
    assert received["drops"]["rx_no_descriptor"] == FRAMES - taken and received["rx_packets"] == FRAMES
    # What it finds at once when it goes on may be more than its own tx ring holds, and nobody pauses it there.
    assert sum(received["drops"].values()) == FRAMES - taken + received["drops"]["tx_full"]
    assert received["in_flight"] == 0
    asked, heeded = received["ports"][0]["flow_control"], sent["ports"][1]["flow_control"]
    assert (asked["mode"], heeded["mode"]) == (mode, mode)
    assert asked["xoff_sent"] == heeded["xoff_received"] == asked["xon_sent"] == heeded["xon_received"]
    assert bool(asked["xoff_sent"]) == (mode == "full")
    assert model.stats()["ports"][2]["faults"]["total"] == 0


def test_what_waits_at_the_stop_is_forwarded_first(instance: Instance, tmp_path: Path) -> None:
    """A generator hears no pause frames, so that its port's packet buffer is full when the run ends. What is in it is
    in no counter of the chip yet: every frame that was sent must still be found in one."""
    wire = '{ kind = "generator", frame = 64, rate = "line" }'
    text = config_text([wire, wire], forward='engine = "vector"\nbatch = 8', cpu="workers = 1")
    text = text.replace("wire =", 'flow_control = "tx"\nwire =')
    report = start_for_report("-c", write_config(tmp_path / "c.toml", text), "--duration", "1", instance=instance.name)
    assert report["drops"]["rx_no_descriptor"] == 0 and report["drops"]["rx_missed"] > 0
    assert_exact(report)
