"""A running guest: QEMU with model ports in it, and commands run inside."""

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.vm.image import Image

ROOT = Path(__file__).resolve().parents[2]
BOOT_TIMEOUT_S = 180.0


class CheckError(Exception):
    """A check did not hold; the message says what was found."""


@dataclass(frozen=True)
class Hardware:
    """What the machine is made of. `devices`: further -device options (QEMU's own NICs), `netdevs`: -netdev options."""

    memory_mib: int = 2048
    iommu: bool = False
    hugepages: int = 0
    devices: tuple[str, ...] = ()
    netdevs: tuple[str, ...] = ()
    kernel: str = ""


@dataclass(frozen=True)
class Done:
    """A finished command."""

    status: int
    output: str


class Guest:
    """`with Guest(image, sockets, hardware, folder) as guest: guest.run("ip link")`."""

    def __init__(self, image: Image, sockets: Sequence[Path], hardware: Hardware, folder: Path) -> None:
        self._folder = folder
        self._ids = itertools.count(1)
        self._inbox = b""
        self._answers: dict[int, Done] = {}
        agent = folder / "agent.sock"
        self._console = (folder / "console.log").open("wb")
        arguments = [*image.qemu(), *_machine(image, hardware), *_ports(sockets, hardware), *_channel(agent)]
        (folder / "qemu.cmd").write_text("\n".join(arguments) + "\n")
        self._qemu = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=self._console, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            self._socket = self._connect(agent)
            self.release = self._wait(0, BOOT_TIMEOUT_S).output
        except BaseException:
            self.close()
            raise

    def run(self, script: str, timeout_s: float = 60.0) -> Done:
        """Run `script` by bash in the guest; its output and its status, whatever that is."""
        return self.wait(self.start(script, timeout_s), timeout_s)

    def start(self, script: str, timeout_s: float = 60.0) -> int:
        """As `run`, without waiting; the ticket is for `wait`."""
        ticket = next(self._ids)
        request = {"id": ticket, "script": script, "timeout_s": timeout_s}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        return ticket

    def wait(self, ticket: int, timeout_s: float = 60.0) -> Done:
        """The end of what `start` began. The agent kills it after its own time."""
        return self._wait(ticket, timeout_s + 30.0)

    def must(self, script: str, timeout_s: float = 60.0) -> str:
        """Run `script` and demand status 0; its output. Raises CheckError with what it said."""
        done = self.run(script, timeout_s)
        if done.status:
            raise CheckError(f"`{script}` ended with {done.status}: {done.output.strip()[-800:]}")
        return done.output

    def alive(self) -> bool:
        """QEMU still runs."""
        return self._qemu.poll() is None

    def close(self) -> None:
        """Power off by killing QEMU: nothing in the guest is worth keeping."""
        if self._qemu.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._qemu.pid, signal.SIGKILL)
            self._qemu.wait()
        self._console.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while True:
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(str(path))
                return link
            except OSError:
                link.close()
            if self._qemu.poll() is not None:
                raise CheckError(f"QEMU ended with {self._qemu.returncode}: {self._console_tail()}")
            if time.monotonic() > deadline:
                raise CheckError(f"QEMU did not offer its agent port within {BOOT_TIMEOUT_S:g} s")
            time.sleep(0.1)

    def _wait(self, ticket: int, timeout_s: float) -> Done:
        deadline = time.monotonic() + timeout_s
        while ticket not in self._answers:
            left = deadline - time.monotonic()
            if left <= 0:
                raise CheckError(f"the guest gave no answer within {timeout_s:g} s: {self._console_tail()}")
            if select.select([self._socket], [], [], min(left, 1.0))[0]:
                part = self._socket.recv(65536)
                if not part:
                    raise CheckError(f"QEMU ended with {self._qemu.wait()}: {self._console_tail()}")
                self._take(part)
        return self._answers.pop(ticket)

    def _take(self, part: bytes) -> None:
        self._inbox += part
        while b"\n" in self._inbox:
            line, _, self._inbox = self._inbox.partition(b"\n")
            answer: dict[str, Any] = json.loads(line)
            self._answers[answer["id"]] = Done(answer["status"], answer["output"])

    def _console_tail(self) -> str:
        self._console.flush()
        return (self._folder / "console.log").read_bytes()[-600:].decode(errors="replace").strip()


def _machine(image: Image, hardware: Hardware) -> list[str]:
    agent = Path(__file__).with_name("agent.py")
    command_line = f"console=ttyS0 panic=-1 loglevel=6 {hardware.kernel}"
    if hardware.iommu:
        command_line += " intel_iommu=on"
    if hardware.hugepages:
        command_line += f" hugepages={hardware.hugepages}"
    share = "security_model=none,readonly=on,multidevs=remap"
    arguments = [
        *_accelerator(),
        # vfio-user hands guest memory over as file descriptors: it must be a shared memfd.
        *("-M", "q35,memory-backend=ram" + (",kernel-irqchip=split" if hardware.iommu else "")),
        *("-object", f"memory-backend-memfd,id=ram,size={hardware.memory_mib}M,share=on"),
        *("-m", f"{hardware.memory_mib}M", "-smp", "2"),
        *("-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio", "-monitor", "none"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        *("-append", f"{command_line} agent={agent}"),
        *("-fsdev", f"local,id=tree,path={image.root},{share}", "-device", "virtio-9p-pci,fsdev=tree,mount_tag=tree"),
        *("-fsdev", f"local,id=host,path=/,{share}", "-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
    ]
    if hardware.iommu:
        arguments += ["-device", "intel-iommu,intremap=on,caching-mode=on"]
    return arguments


def _accelerator() -> list[str]:
    """/dev/kvm without the processor's own support stops at the first instruction that it cannot emulate."""
    flags = Path("/proc/cpuinfo").read_text().split()
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK) and not {"vmx", "svm"}.isdisjoint(flags)
    # numpy in the guest needs more than the default processor.
    return ["-accel", "kvm" if usable else "tcg,thread=multi", "-cpu", "max"]


def _ports(sockets: Sequence[Path], hardware: Hardware) -> list[str]:
    arguments = []
    for number, path in enumerate(sockets, 1):
        arguments += ["-device", f"pcie-root-port,id=rp{number},chassis={number},slot={number}"]
        place = {"driver": "vfio-user-pci", "bus": f"rp{number}", "socket": {"path": str(path), "type": "unix"}}
        arguments += ["-device", json.dumps(place)]
    for netdev in hardware.netdevs:
        arguments += ["-netdev", netdev]
    for device in hardware.devices:
        arguments += ["-device", device]
    return arguments


def _channel(path: Path) -> list[str]:
    return [
        *("-chardev", f"socket,id=agent,path={path},server=on,wait=off"),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent"),
    ]
