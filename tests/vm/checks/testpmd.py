"""DPDK's testpmd on two model ports through vfio-pci and an IOMMU; a generator and a sink at the far end of each."""

import re
import time
from collections.abc import Callable

from tests.vm.guest import CheckError, Hardware
from tests.vm.lab import Check, Lab, Step, no_faults

FORWARD_S = 4.0
SETTLE_S = 1.0
_LOG = "--log-level=pmd.net.ixgbe.init:debug"
_PORTS = "-a 01:00.0 -a 02:00.0"
# SIMD of 64 bits or less leaves DPDK only its scalar rx and tx paths.
_EAL = {"vector": "", "scalar": "--force-max-simd-bitwidth=64"}
_SAYS = {
    "vector": ("Vector rx enabled", "Vector tx enabled"),
    "scalar": ("Rx Burst Bulk Alloc function will be used", "Using simple tx code path"),
}


def vfio(lab: Lab) -> str:
    """Both ports to vfio-pci, 2 MiB pages for DPDK."""
    lab.model.client.stop()  # until testpmd forwards: what comes sooner, its filters drop
    lab.must("modprobe vfio-pci")
    for slot in ("0000:01:00.0", "0000:02:00.0"):
        lab.must(f"echo vfio-pci >/sys/bus/pci/devices/{slot}/driver_override; echo {slot} >/sys/bus/pci/drivers_probe")
    groups = lab.must("ls /dev/vfio").split()
    lab.must("mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages")
    if len(groups) != 3:
        raise CheckError(f"/dev/vfio holds {groups}, expected two groups and the container")
    return f"IOMMU groups {groups[0]} and {groups[1]}"


def forward(queues: int, path: str) -> Step:
    """A step: forward on so many queues with that path of DPDK, every frame accounted for."""

    def run(lab: Lab) -> str:
        began = _totals(lab)
        lab.must("rm -f /tmp/in /tmp/out; mkfifo /tmp/in")
        command = (
            f"dpdk-testpmd -l 0-1 -n 1 {_LOG} {_EAL[path]} {_PORTS} -- -i --nb-cores=1 --no-flush-rx"
            f" --total-num-mbufs=16384 --rxq={queues} --txq={queues}"
        )
        ticket = lab.guest.start(f"exec 3<>/tmp/in; timeout 120 {command} </tmp/in >/tmp/out 2>&1", 150)
        lab.until("testpmd's prompt", "grep -q 'testpmd>' /tmp/out", 60)
        lab.must("printf 'show rxq info 0 0\\nshow txq info 0 0\\nstart\\n' >/tmp/in")
        lab.until("forwarding", "grep -q 'packet forwarding - ports=2' /tmp/out")
        lab.model.client.start()
        time.sleep(FORWARD_S)
        lab.model.client.stop()
        _settle(lab)
        lab.must("printf 'stop\\nquit\\n' >/tmp/in")
        done = lab.guest.wait(ticket, 60)
        said = lab.must("cat /tmp/out")
        if done.status:
            raise CheckError(f"testpmd ended with {done.status}: {said[-600:]}")
        return _judge(lab, began, said, queues, path)

    return run


def _judge(lab: Lab, began: dict[str, int], said: str, queues: int, path: str) -> str:
    moved = {key: value - began[key] for key, value in _totals(lab).items()}
    if moved["sent"] != moved["received"] or moved["sent"] < 1000 or moved["wrong"]:
        raise CheckError(f"sent, received and wrong at the wires: {moved}")
    streams = [int(count) for count in re.findall(r"RX Port=.*?\n\s*RX-packets: (\d+)", said)]
    if len(streams) != 2 * queues or min(streams) == 0:
        raise CheckError(f"{queues} queues, but packets by stream: {streams}")
    dropped = [int(count) for count in re.findall(r"[RT]X-dropped: (\d+)", said)]
    if any(dropped):
        raise CheckError(f"testpmd dropped: {dropped}")
    missing = [words for words in _SAYS[path] if words not in said]
    if missing:
        raise CheckError(f"testpmd did not take its {path} path: it never said {missing}")
    return f"{moved['sent']} frames forwarded, none lost; {_span(streams)} by queue; {path} rx and tx"


def _span(counts: list[int]) -> str:
    return f"{min(counts)} to {max(counts)}"


def _totals(lab: Lab) -> dict[str, int]:
    wires = [port["wire"] for port in lab.model.client.stats()["ports"]]
    return {
        "sent": sum(wire["generator"]["sent"] for wire in wires),
        "received": sum(wire["sink"]["received"] for wire in wires),
        "wrong": sum(wire["sink"][key] for wire in wires for key in ("lost", "reordered", "duplicated", "corrupted")),
    }


def _settle(lab: Lab) -> None:
    """Until the sinks have got all that was sent, or nothing more comes."""
    seen = -1
    while (received := _totals(lab)["received"]) != seen:
        seen = received
        time.sleep(SETTLE_S)


def _steps() -> tuple[tuple[str, Callable[[Lab], str]], ...]:
    runs = [(f"{queues}-{path}", forward(queues, path)) for queues in (2, 4) for path in ("vector", "scalar")]
    return (("vfio", vfio), *runs, ("faults", no_faults))


_HARDWARE = Hardware(iommu=True, hugepages=256)
_WIRES = ("generator:flows=64,rate=max", "generator:flows=64,rate=max")
TESTPMD_CHECKS = (
    Check("testpmd", "DPDK's testpmd forwards between two ports with RSS", _steps(), "10fb", _WIRES, _HARDWARE),
)
