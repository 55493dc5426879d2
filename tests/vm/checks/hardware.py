"""ixyfwd itself in the guest, on real PCI functions: through sysfs by physical addresses, and through vfio-pci."""

import json
import time
from typing import Any

from tests.testing.hosts import ADDRESSES, Hosts, assert_iperf3_completes
from tests.vm import inside
from tests.vm.guest import CheckError, Done, Hardware
from tests.vm.lab import Check, Lab, Step, no_faults

SLOTS = ("0000:01:00.0", "0000:02:00.0")
FORWARD_S = 3.0
SETTLE_S = 1.0
SILENT_S = 12.0
READY_TIMEOUT_S = 90.0
_CONTROL = "/run/ixyfwd/default/control.sock"
_PID = "$(cat /run/ixyfwd/default/lock)"
_REPORT, _SAID, _ENDED = "/tmp/report.json", "/tmp/start.err", "/tmp/ended"
_OURS = "pgrep -r R,S,D -f '[i]xyfwd'"  # the guest's first process does not collect the dead
_CONFIG = """
[cpu]
main = 0
workers = "{cpus}"
share = true
[forward]
ring_size = 512
idle = "{idle}"
[[port]]
name = "a"
device = "{a}"
[[port]]
name = "b"
device = "{b}"
[[link]]
ports = ["a", "b"]
"""


def pages(lab: Lab) -> str:
    """Wires quiet, a hugetlbfs, no driver on the ports."""
    lab.model.client.stop()
    lab.must("mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages")
    inside.mount(lab)
    return lab.must("grep HugePages_Free /proc/meminfo").strip()


def held(lab: Lab) -> str:
    """Linux's driver has the ports: refused, with the command that frees them."""
    lab.must("modprobe ixgbe")
    lab.until("ixgbe", f"[ -e /sys/bus/pci/devices/{SLOTS[1]}/driver ]")
    done = inside.run(lab, "start", "--config", _config(lab, 2))
    lab.must("rmmod ixgbe")
    if done.status != 3 or "driver ixgbe" not in done.output or "ixyfwd bind" not in done.output:
        raise CheckError(f"started on ports that ixgbe holds: status {done.status}, {done.output[-400:]}")
    return "ixgbe has them: refused with exit code 3"


def vfio(lab: Lab) -> str:
    """Both ports to vfio-pci."""
    lab.must("modprobe vfio-pci")
    for slot in SLOTS:
        lab.must(f"echo vfio-pci >/sys/bus/pci/devices/{slot}/driver_override; echo {slot} >/sys/bus/pci/drivers_probe")
    return f"/dev/vfio: {' '.join(lab.must('ls /dev/vfio').split())}"


def translated(lab: Lab) -> str:
    """Physical addresses would be wrong behind this IOMMU: refused."""
    done = inside.run(lab, "start", "--config", _config(lab, 2))
    if done.status != 3 or "vfio-pci" not in done.output:
        raise CheckError(f"started behind an IOMMU: status {done.status}, {done.output[-400:]}")
    return "an IOMMU that translates: refused with exit code 3"


def forward(workers: int, idle: str = "adaptive") -> Step:
    """A step: forward with so many workers, every frame accounted for on both sides."""

    def run(lab: Lab) -> str:
        began = _totals(lab)
        ticket = _begin(lab, workers, idle)
        lab.model.client.start()
        time.sleep(FORWARD_S)
        lab.model.client.stop()
        _settle(lab)
        lab.must(f"kill -INT {_PID}")
        done = lab.guest.wait(ticket, 90)
        if done.status:
            raise CheckError(f"ixyfwd start ended with {done.status}: {_said(lab)}")
        return _judge(lab, began, json.loads(lab.must(f"cat {_REPORT}")), workers)

    return run


def _judge(lab: Lab, began: dict[str, int], report: dict[str, Any], workers: int) -> str:
    account = _account(report, workers)
    rx, tx = report["rx_packets"], report["tx_packets"]
    moved = {key: value - began[key] for key, value in _totals(lab).items()}
    if moved["sent"] != rx or moved["received"] != tx or moved["wrong"] or rx < 1000:
        raise CheckError(f"the wires say {moved}, the report {rx} received and {tx} sent")
    idle = [row["index"] for row in report["workers"] if row["rx_packets"] == 0]
    if idle:
        raise CheckError(f"workers {idle} got no frame")
    return f"{account}, {moved['received']} verified at the far ends"


def _account(report: dict[str, Any], workers: int) -> str:
    rx, tx, in_flight = report["rx_packets"], report["tx_packets"], report["in_flight"]
    drops = {cause: count for cause, count in report["drops"].items() if count}
    if rx != tx + sum(drops.values()) + in_flight or len(report["workers"]) != workers:
        raise CheckError(f"the account is not exact: {json.dumps(report)[:800]}")
    return f"{rx} = {tx} + {drops or 'no drops'} + {in_flight} in flight"


def interrupts(lab: Lab) -> str:
    """Workers sleep until MSI-X wakes them; the kernel has no vector of ours left afterwards."""
    forwarded = forward(2, idle="interrupt")(lab)
    rows = json.loads(lab.must(f"cat {_REPORT}"))["workers"]
    woken = [row["wakeups"] for row in rows]
    if not all(woken):
        raise CheckError(f"no interrupt has woken every worker: {json.dumps(rows)[:800]}")
    left = lab.must("grep vfio-msix /proc/interrupts; true").strip()
    if left:
        raise CheckError(f"vectors are left: {left}")
    return f"{forwarded}; woken {' and '.join(map(str, woken))} times"


def killed(lab: Lab) -> str:
    """Everything of ours in the guest is killed in full flight; the next start, with four workers, is clean."""
    _begin(lab, 2)
    lab.model.client.start()
    time.sleep(1.0)
    pids = lab.must(f"{_OURS} | tr '\\n' ' '")
    lab.must(f"kill -9 {pids}; true")
    lab.until("the end of them", f"! {_OURS}")
    lab.model.client.stop()
    time.sleep(SETTLE_S)
    return f"killed {len(pids.split())} processes; then {forward(4)(lab)}"


def removed(lab: Lab) -> str:
    """A port is removed in full flight: the run ends by itself, says so, and the port can be had again. vfio-pci waits
    for its device until the run lets go of it."""
    ticket = _begin(lab, 2)
    lab.model.client.start()
    time.sleep(1.0)
    lab.must(f"echo 1 >/sys/bus/pci/devices/{SLOTS[1]}/remove")
    done = lab.guest.wait(ticket, 90)
    lab.model.client.stop()
    lab.must("echo 1 >/sys/bus/pci/rescan")
    return _left_the_bus(lab, done)


def silent(lab: Lab) -> str:
    """A port answers with all ones in full flight, as one whose slot has lost power: the run ends and says so."""
    ticket = _begin(lab, 2)
    lab.model.client.start()
    time.sleep(1.0)
    # It comes back while the kernel, whose reset of a device that is let go waits for an answer, still waits for it.
    lab.model.client.inject("b", "device-gone", {"seconds": SILENT_S})
    done = lab.guest.wait(ticket, 90)
    lab.model.client.stop()
    return _left_the_bus(lab, done)


def _left_the_bus(lab: Lab, done: Done) -> str:
    said = _said(lab)
    if done.status != 1 or "Traceback" in said or SLOTS[1] not in said or lab.guest.run(_OURS).status == 0:
        raise CheckError(f"ixyfwd start ended with {done.status}: {said}")
    return lab.must(f"grep -o '^ixyfwd: .*' {_SAID}").strip()[:160]


def hosts(tag: str) -> Step:
    """A step: two hosts outside of the guest talk through the forwarder in it, which has two workers and then four."""

    def run(lab: Lab) -> str:
        with Hosts(tag) as pair:
            pair.adopt()
            return "50 pings answered, TCP both ways; " + "; ".join(_between(lab, pair, workers) for workers in (2, 4))

    return run


def _between(lab: Lab, pair: Hosts, workers: int) -> str:
    ticket = _begin(lab, workers)
    lab.model.client.start()
    try:
        said = pair.on(0, "ping", "-q", "-c", "50", "-i", "0.05", "-W", "5", ADDRESSES[1]).stdout
        if "50 received" not in said:
            raise CheckError(f"ping across the guest, {workers} workers: {said[-200:]}")
        assert_iperf3_completes(pair)
    except AssertionError as error:
        raise CheckError(f"between the hosts, {workers} workers: {error}") from None
    lab.must(f"kill -INT {_PID}")
    done = lab.guest.wait(ticket, 90)
    if done.status:
        raise CheckError(f"ixyfwd start ended with {done.status}: {_said(lab)}")
    return f"{workers} workers: {_account(json.loads(lab.must(f'cat {_REPORT}')), workers)}"


def give_back(lab: Lab) -> str:
    """Linux's own driver takes the ports and answers: each port's far end sends, Linux counts."""
    for slot in SLOTS:
        lab.must(f"echo {slot} >/sys/bus/pci/devices/{slot}/driver/unbind 2>/dev/null; true")
        lab.must(f"echo >/sys/bus/pci/devices/{slot}/driver_override; true")
    lab.must("modprobe ixgbe")
    for slot in SLOTS:
        lab.must(f"[ -e /sys/bus/pci/devices/{slot}/driver ] || echo {slot} >/sys/bus/pci/drivers_probe")
    lab.until("the interfaces", " && ".join(f"ls /sys/bus/pci/devices/{slot}/net" for slot in SLOTS))
    names = [lab.must(f"ls /sys/bus/pci/devices/{slot}/net").strip() for slot in SLOTS]
    for name in names:
        lab.must(f"ip link set {name} up promisc on")
        lab.until(f"carrier of {name}", f"[ $(cat /sys/class/net/{name}/carrier) = 1 ]")
    lab.model.client.start()
    for name in names:
        lab.until(f"frames at {name}", f"[ $(cat /sys/class/net/{name}/statistics/rx_packets) -gt 1000 ]")
    lab.model.client.stop()
    return "ixgbe receives on " + " and ".join(names)


def _config(lab: Lab, workers: int, idle: str = "adaptive") -> str:
    cpus = ",".join(str(index % 2) for index in range(workers))
    return inside.write(lab, "/tmp/guest.toml", _CONFIG.format(cpus=cpus, idle=idle, a=SLOTS[0], b=SLOTS[1]))


def _begin(lab: Lab, workers: int, idle: str = "adaptive") -> int:
    """`ixyfwd start` in the guest, until its links are up and it answers."""
    lab.must(f"rm -f {_REPORT} {_SAID} {_ENDED}")
    command = inside.command("start", "--config", _config(lab, workers, idle), "--json")
    ticket = lab.guest.start(f"{command} >{_REPORT} 2>{_SAID}; status=$?; touch {_ENDED}; exit $status", 200)
    lab.until("a running forwarder, or its end", f"grep -q forwarding {_SAID} || [ -e {_ENDED} ]", READY_TIMEOUT_S)
    if "forwarding" not in _said(lab):
        raise CheckError(f"ixyfwd start ended with {lab.guest.wait(ticket, 60).status}: {_said(lab)}")
    return ticket


def _said(lab: Lab) -> str:
    return lab.must(f"tail -c 800 {_SAID} {_REPORT}").strip()


def _totals(lab: Lab) -> dict[str, int]:
    wires = [port["wire"] for port in lab.model.client.stats()["ports"]]
    return {
        "sent": sum(wire["generator"]["sent"] for wire in wires),
        "received": sum(wire["sink"]["received"] for wire in wires),
        "wrong": sum(wire["sink"][key] for wire in wires for key in ("reordered", "duplicated", "corrupted")),
    }


def _settle(lab: Lab) -> None:
    """Until nothing more comes back."""
    seen = -1
    while (received := _totals(lab)["received"]) != seen:
        seen = received
        time.sleep(SETTLE_S)


def _taps(tag: str) -> tuple[str, ...]:
    return tuple(f"tap:{name}" for name in Hosts(tag).taps)


_WIRES = ("generator:flows=64,rate=20000", "generator:flows=64,rate=20000")
_RUNS = (("2-workers", forward(2)), ("killed", killed), ("faults", no_faults))
HARDWARE_CHECKS = (
    Check(
        "guest-sysfs",
        "ixyfwd on two ports through sysfs, by physical addresses",
        (("pages", pages), ("held", held), *_RUNS, ("removed", removed), ("give-back", give_back)),
        wires=_WIRES,
        hardware=Hardware(hugepages=256),
    ),
    Check(
        "guest-vfio",
        "the same through vfio-pci and an IOMMU",
        (
            ("pages", pages),
            ("translated", translated),
            ("vfio", vfio),
            ("interrupts", interrupts),
            *_RUNS,
            ("silent", silent),
            ("removed", removed),
            ("give-back", give_back),
        ),
        wires=_WIRES,
        hardware=Hardware(iommu=True, hugepages=256),
    ),
    Check(
        "guest-taps",
        "two hosts (root) talk through ixyfwd in the guest, by vfio-pci",
        (("pages", pages), ("vfio", vfio), ("hosts", hosts("vm")), ("faults", no_faults)),
        wires=_taps("vm"),
        hardware=Hardware(iommu=True, hugepages=256),
    ),
    Check(
        "guest-taps-sysfs",
        "the same by physical addresses",
        (("pages", pages), ("hosts", hosts("vs")), ("faults", no_faults)),
        wires=_taps("vs"),
        hardware=Hardware(hugepages=256),
    ),
)
