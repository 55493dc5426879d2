"""The TAP wire: an interface of the kernel at the far end of the port's link. C moves the frames."""

import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.model.wires.contract import Jack, Plug, Wire, WireTotals, check_memory
from ixyfwd.settings.reader import Table

TUN_DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
SIOCSIFMTU = 0x8922
DEFAULT_MTU = 1500
IFF_TAP, IFF_NO_PI, IFF_TUN_EXCL = 0x0002, 0x1000, 0x8000
NAME_BYTES = 16  # with the terminating zero
COUNTS = ("received", "received_bytes", "sent", "sent_bytes", "send_errors", "interface_down")
_INTERFACE: Final = re.compile(r"(?!\.{1,2}$)[^\s/:\0]{1,15}")  # what the kernel's dev_valid_name takes


@dataclass(frozen=True)
class TapWire(Wire):
    """A TAP interface of the kernel: its frames go into the port, the port's frames come out of it. `mtu` in bytes."""

    kind: ClassVar = "tap"
    main_key: ClassVar = "interface"
    needs: ClassVar = frozenset({"tap"})

    interface: str
    mtu: int = DEFAULT_MTU

    @classmethod
    def read(cls, table: Table, folder: Path) -> Self:
        """Read the wire's table: key `interface`."""
        expected = "an interface name of 1 to 15 characters without blanks, / and :"
        table.need("interface", expected)
        return cls(table.text("interface", "", expected, _INTERFACE))

    def own(self) -> Iterator[tuple[str, str, str]]:
        """The interface, which no other wire may have."""
        yield "interface", "an interface", self.interface

    def for_mtu(self, mtu: int) -> Wire:
        """The interface has the ports' MTU."""
        return replace(self, mtu=mtu)

    def attach(self, jack: Jack) -> Plug:
        """Open the TAP interface. Raises the errors of `open_tap`."""
        return TapPlug(jack, self)


def open_tap(name: str, mtu: int = DEFAULT_MTU) -> int:
    """Make the TAP interface `name`; it exists as long as the descriptor returned is open.

    Raises UsageError (impossible name), RefusedError (the name is taken), IxyfwdError (no permission, no TUN/TAP, an
    MTU that the kernel does not take).
    """
    if not 0 < len(name.encode()) < NAME_BYTES or "/" in name or any(c.isspace() or c in "%:" for c in name):
        raise UsageError(f"TAP interface {name!r}: expected a name of 1 to {NAME_BYTES - 1} bytes without space, / : %")
    if _exists(name):
        raise RefusedError(f"TAP interface {name}: this interface exists already; delete it or choose another name")
    try:
        fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refusal(name, error) from None
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL))
    except OSError as error:
        os.close(fd)
        raise _refusal(name, error) from None
    if mtu != DEFAULT_MTU:
        _set_mtu(fd, name, mtu)
    return fd


def _set_mtu(fd: int, name: str, mtu: int) -> None:
    """Closes `fd` if it fails, so that the interface goes again."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFMTU, struct.pack("16si20x", name.encode(), mtu))
    except OSError as error:
        os.close(fd)
        raise IxyfwdError(f"TAP interface {name}: the kernel does not take an MTU of {mtu}: {error.strerror}") from None


def _exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _refusal(name: str, error: OSError) -> IxyfwdError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return IxyfwdError(f"TAP interface {name}: no permission to make one; run as root or with CAP_NET_ADMIN")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return IxyfwdError(f"TAP interface {name}: {TUN_DEVICE} is missing; load the kernel's tun module")
    if error.errno == errno.EBUSY:
        return RefusedError(f"TAP interface {name}: this interface exists already; delete it or choose another name")
    return IxyfwdError(f"TAP interface {name}: the kernel refused to make it: {error.strerror}")


class TapPlug(Plug):
    """The plug of a TAP interface, at the kernel's own traffic."""

    def __init__(self, jack: Jack, wire: TapWire) -> None:
        super().__init__(jack)
        self._interface = wire.interface
        self._fd = open_tap(wire.interface, wire.mtu)
        check_memory(jack.lib.dp_plug_tap(jack.port, self._fd), "a TAP wire")

    def totals(self) -> WireTotals:
        """Frames that the kernel refused are not among them."""
        tap = self._jack.lib.dp_port_tap(self._jack.port)
        return WireTotals(int(tap.received), int(tap.sent))

    def stats(self) -> dict[str, Any]:
        """`received`: from the kernel into the port; `interface_down`: refused because the interface was down."""
        tap = self._jack.lib.dp_port_tap(self._jack.port)
        return {"interface": self._interface, **{key: int(getattr(tap, key)) for key in COUNTS}}

    def gone(self) -> bool:
        """Whether the interface was deleted, by itself or with its network namespace."""
        return bool(self._jack.lib.dp_port_tap(self._jack.port).gone)

    def notices(self) -> Iterator[str]:
        """Notices that the interface is gone, or was down when frames came for it."""
        if self.gone():
            yield (
                f"the interface {self._interface} is gone: it was deleted, or its network namespace was; the link is "
                "down until the next start"
            )
        elif self._jack.lib.dp_port_tap(self._jack.port).interface_down:
            yield f"the interface {self._interface} was down when frames came for it: ip link set {self._interface} up"

    def close(self) -> None:
        """The interface vanishes."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
