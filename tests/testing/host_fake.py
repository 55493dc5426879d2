"""A machine in a folder: sysfs and proc as files, and a driver core that does what Linux's does."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ixyfwd.errors import IxyfwdError
from ixyfwd.host.kernel import Kernel

BUS = "/sys/bus/pci"
BOOT = "11111111-2222-3333-4444-555555555555"
ROUTE_HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


class Killed(BaseException):
    """The process is dead: from here on it does nothing any more."""


class FakeKernel(Kernel):
    """`log` holds every step taken; `fuse` is how many more there will be before the process is killed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.ips: dict[str, tuple[str, ...]] = {}
        self.listed_alternatives: dict[str, tuple[str, ...]] = {}
        self.log: list[str] = []
        self.fuse: int | None = None
        self.refuse: dict[str, str] = {}  # path: why writing there fails
        self.modules: set[str] = set()  # that can be loaded: each brings the driver of its name
        self.full = False
        self.privileged = True
        self._native: dict[str, tuple[str, str, bool]] = {}
        for folder in (f"{BUS}/devices", f"{BUS}/drivers", "/sys/class/net", "/proc/net", "/var/lib"):
            self.at(folder).mkdir(parents=True)
        self.put(f"{BUS}/drivers_probe", "")
        self.put("/proc/sys/kernel/random/boot_id", BOOT)

    def put(self, path: str, text: str) -> None:
        """A file with its folders."""
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).write_text(f"{text}\n")

    def add_driver(self, name: str) -> None:
        for file in ("bind", "unbind"):
            self.put(f"{BUS}/drivers/{name}/{file}", "")

    def add_device(  # noqa: PLR0917
        self,
        address: str = "0000:01:00.0",
        driver: str = "ixgbe",
        interface: str = "eth0",
        ids: str = "8086:10fb",
        group: str = "",
        virtio: bool = False,
        class_code: str = "0x020000",
    ) -> str:
        """A function that its native driver has; its directory."""
        real = f"/sys/devices/pci0000:00/{address}"
        vendor, device = ids.split(":")
        files = {"vendor": f"0x{vendor}", "device": f"0x{device}", "class": class_code, "driver_override": "(null)"}
        for name, text in {**files, "numa_node": "0", "resource0": ""}.items():
            self.put(f"{real}/{name}", text)
        self._link(f"{BUS}/devices/{address}", real)
        if group:
            self.at(f"/sys/kernel/iommu_groups/{group}/devices").mkdir(parents=True, exist_ok=True)
            self._link(f"/sys/kernel/iommu_groups/{group}/devices/{address}", real)
            self._link(f"{real}/iommu_group", f"/sys/kernel/iommu_groups/{group}")
        self._native[address] = (driver, interface, virtio)
        if driver:
            self.add_driver(driver)
            self._attach(address, driver)
        return real

    def add_upper(self, name: str, lower: str, kind: str = "", master: bool = False) -> None:
        """An interface on top of another."""
        self.put(f"/sys/class/net/{name}/uevent", f"DEVTYPE={kind}\nINTERFACE={name}" if kind else f"INTERFACE={name}")
        self._link(f"/sys/class/net/{lower}/upper_{name}", f"/sys/class/net/{name}")
        if master:
            self._link(f"/sys/class/net/{lower}/master", f"/sys/class/net/{name}")

    def state(self, address: str = "0000:01:00.0") -> tuple[str, str]:
        """Driver and override."""
        path = f"{BUS}/devices/{address}"
        return os.path.basename(self.link(f"{path}/driver")), self.text(f"{path}/driver_override").replace("(null)", "")

    def alternative_names(self) -> Mapping[str, tuple[str, ...]]:
        return self.listed_alternatives

    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        return self.ips

    def check_privilege(self) -> None:
        if not self.privileged:
            raise IxyfwdError("only root")

    def write(self, path: str, value: str) -> None:
        self._tick(f"{path} <- {value}")
        if path in self.refuse:
            raise IxyfwdError(f"{path}: writing {value!r} failed ({self.refuse[path]})")
        if self.exists(path):
            os.truncate(self.at(path), 0)  # a file of sysfs takes each write for itself
        super().write(path, value)
        folder, _, file = path.rpartition("/")
        if file == "unbind":
            assert self.state(value)[0] == folder.rpartition("/")[2], "no such device at this driver"
            self._detach(value)
        elif file == "bind":
            self._attach(value, folder.rpartition("/")[2])
        elif file == "drivers_probe" and not self.state(value)[0]:
            driver = self.state(value)[1] or self._native[value][0]
            if self.exists(f"{BUS}/drivers/{driver}") and driver:
                self._attach(value, driver)

    def modprobe(self, module: str) -> None:
        self._tick(f"modprobe {module}")
        if module not in self.modules:
            raise IxyfwdError(f"`modprobe {module}` failed: not found")
        self.add_driver(module)

    def replace(self, path: str, data: bytes) -> None:
        self._tick(f"journal {path}")
        if self.full:
            raise OSError(28, "No space left on device")
        super().replace(path, data)

    def _tick(self, what: str) -> None:
        if self.fuse is not None:
            if self.fuse == 0:
                raise Killed
            self.fuse -= 1
        self.log.append(what)

    def _link(self, path: str, to: str) -> None:
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).symlink_to(os.path.relpath(self.at(to), os.path.realpath(self.at(path).parent)))

    def _attach(self, address: str, driver: str) -> None:
        real = f"/sys/devices/pci0000:00/{address}"
        self._link(f"{real}/driver", f"{BUS}/drivers/{driver}")
        native, interface, virtio = self._native[address]
        if driver != native or not interface:
            return
        holder = f"{real}/virtio1" if virtio else real
        net = f"{holder}/net/{interface}"
        facts = {"address": "02:00:00:00:00:01", "flags": "0x1003", "carrier": "1", "speed": "10000"}
        for name, text in facts.items():
            self.put(f"{net}/{name}", text)
        self._link(f"{net}/device", holder)
        self._link(f"/sys/class/net/{interface}", net)

    def _detach(self, address: str) -> None:
        real = f"/sys/devices/pci0000:00/{address}"
        self.at(f"{real}/driver").unlink()
        _, interface, virtio = self._native[address]
        shutil.rmtree(self.at(f"{real}/virtio1" if virtio else f"{real}/net"), ignore_errors=True)
        if interface:
            self.at(f"/sys/class/net/{interface}").unlink(missing_ok=True)
        self.ips.pop(interface, None)
