"""Giving devices back to the drivers that they came from: `unbind`, and the replay of the journal after a crash."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.host import steps
from ixyfwd.host.devices import DRIVERS, HOLDING_DRIVERS, Device, find_device, read_device
from ixyfwd.host.holders import holders
from ixyfwd.host.journal import FILE, Entry, Journal, load
from ixyfwd.host.kernel import Kernel
from ixyfwd.host.steps import Step
from ixyfwd.kit.pciaddress import pci_address

INTERFACE_TIMEOUT_S: Final = 10.0
_INTERFACE_POLL_S: Final = 0.1


@dataclass(frozen=True)
class Return:
    """What became of a device: the driver and interfaces that it has now; `notes` are sentences about it."""

    address: str
    driver: str
    interfaces: tuple[str, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """A device to give back. `entry` is None if the journal knows nothing of it."""

    device: Device
    entry: Entry | None
    notes: tuple[str, ...] = ()


def boot_id(kernel: Kernel) -> str:
    """The kernel's id of this boot, which changes with every boot."""
    return kernel.text("/proc/sys/kernel/random/boot_id")


def unbind(kernel: Kernel, names: Sequence[str]) -> list[Return]:
    """Give the named devices back; an interface's name means the device that had it.

    A device that the journal does not know goes to whichever driver the kernel chooses. Raises RefusedError for one
    that a process has open, UsageError for a name that means none, IxyfwdError for those that a step fails for; the
    others are given back all the same.
    """
    return _give(kernel, lambda entries: [_named(kernel, entries, name) for name in names])


def unbind_all(kernel: Kernel) -> list[Return]:
    """Give back every device of the journal. Raises as `unbind` does."""
    return _give(kernel, lambda entries: _of_journal(kernel, entries.values()))


def restore(kernel: Kernel) -> list[Return]:
    """Replay the journal: give back what a crash left on its way, forget what is out of date, keep what is bound.

    Raises as `unbind` does. Harmless at any time.
    """
    return _give(
        kernel, lambda entries: _of_journal(kernel, (entry for entry in entries.values() if entry.state != "bound"))
    )


def needs_replay(kernel: Kernel) -> bool:
    """Whether the journal has an entry that `restore` would put right. Raises IxyfwdError for a damaged journal."""
    return any(entry.state != "bound" or _out_of_date(kernel, entry) for entry in load(kernel).values())


def plan_return(kernel: Kernel, wanted: Wanted) -> list[Step]:
    """The steps that give a device back."""
    entry, device = wanted.entry, wanted.device
    if entry is not None:
        return steps.give_back(kernel, device, entry.driver, entry.module, entry.driver_override)
    if device.driver and device.driver not in HOLDING_DRIVERS:
        # Nothing but an override of ours that a lost journal left behind.
        override = "" if device.driver_override in (steps.VFIO_PCI, steps.NO_DRIVER) else device.driver_override
        return steps.give_back(kernel, device, device.driver, "", override)
    return steps.give_back(kernel, device, None, "", "")


def planned(kernel: Kernel, names: Sequence[str] | None) -> list[Return]:
    """What `unbind` (None: `unbind_all`) would do; touches nothing."""
    entries = load(kernel)
    fresh = {address: entry for address, entry in entries.items() if not _out_of_date(kernel, entry)}
    chosen = _of_journal(kernel, fresh.values()) if names is None else [_named(kernel, fresh, name) for name in names]
    return [
        Return(one.device.address, one.device.driver, (), tuple(plan_return(kernel, one)), one.notes) for one in chosen
    ]


def put_back(kernel: Kernel, entry: Entry) -> None:
    """Bring a device to where its entry says that it was, from any state. Raises IxyfwdError."""
    device = read_device(kernel, entry.address, {})
    if device is None:
        return
    steps.run(kernel, steps.give_back(kernel, device, entry.driver, entry.module, entry.driver_override))
    if not entry.driver:
        return
    after = read_device(kernel, entry.address, {})
    if after is not None and not after.driver:
        # The driver had been told of this device by hand (new_id): a probe does not find it, an explicit bind does.
        kernel.write(f"{DRIVERS}/{entry.driver}/bind", entry.address)
        after = read_device(kernel, entry.address, {})
    if after is None or after.driver != entry.driver:
        has = "no device" if after is None else after.driver or "no driver"
        raise IxyfwdError(
            f"{entry.address}: found {has}, expected its driver {entry.driver} again; `dmesg` may say why"
        )


def _give(kernel: Kernel, choose: Callable[[dict[str, Entry]], list[Wanted]]) -> list[Return]:
    """Out of date entries go first; then all chosen devices are checked, then given back one by one."""
    kernel.check_privilege()
    with Journal(kernel) as journal:
        stale = {address: why for address, entry in journal.entries.items() if (why := _out_of_date(kernel, entry))}
        fresh = {address: entry for address, entry in journal.entries.items() if address not in stale}
        chosen = {wanted.device.address: wanted for wanted in choose(fresh)}
        held = [
            f"{wanted.device.label}: {holder} has it open; stop that process first"
            for wanted in chosen.values()
            if plan_return(kernel, wanted)
            for holder in holders(kernel, wanted.device)
        ]
        if held:
            raise RefusedError("\n".join(held))
        journal.drop(stale)
        done: list[Return] = []
        failed: list[str] = []
        for wanted in chosen.values():
            try:
                done.append(_one(kernel, journal, wanted))
            except IxyfwdError as error:  # no reason to keep the others
                failed.append(str(error))
        if failed:
            failed += [f"{one.address}: back with {one.driver or 'no driver'} all the same" for one in done]
            raise IxyfwdError("\n".join(failed))
    told = {one.address for one in done}
    gone = [_state(kernel, address, (why,)) for address, why in stale.items() if address not in told]
    return [*gone, *(dataclasses.replace(one, notes=(*_note(stale, one), *one.notes)) for one in done)]


def _note(stale: dict[str, str], one: Return) -> tuple[str, ...]:
    return (stale[one.address],) if one.address in stale else ()


def _one(kernel: Kernel, journal: Journal, wanted: Wanted) -> Return:
    todo = tuple(plan_return(kernel, wanted))
    if wanted.entry is None:
        steps.run(kernel, todo)
        now = _state(kernel, wanted.device.address, wanted.notes)
        if todo and not now.driver:
            note = f"{now.address}: no driver of this kernel took it; load its module, it is then probed by itself"
            return dataclasses.replace(now, steps=todo, notes=(*now.notes, note))
        return dataclasses.replace(now, steps=todo)
    if wanted.entry.state == "bound":
        journal.put([dataclasses.replace(wanted.entry, state="unbinding")])
    put_back(kernel, wanted.entry)
    notes = (*wanted.notes, *_differences(wanted.entry, _await_interfaces(kernel, wanted.entry)))
    journal.drop([wanted.device.address])
    return dataclasses.replace(_state(kernel, wanted.device.address, notes), steps=todo)


def _state(kernel: Kernel, address: str, notes: tuple[str, ...]) -> Return:
    device = read_device(kernel, address, {})
    if device is None:
        return Return(address, "", (), (), notes)
    return Return(address, device.driver, tuple(found.name for found in device.interfaces), (), notes)


def _await_interfaces(kernel: Kernel, entry: Entry) -> Device | None:
    """The device as soon as its interfaces are back under their names, or as it is when there is no more hope."""
    names = {had.name for had in entry.interfaces}
    deadline = time.monotonic() + INTERFACE_TIMEOUT_S
    while True:
        device = read_device(kernel, entry.address)
        found = {interface.name for interface in device.interfaces} if device else set()
        # udev renames an interface a moment after it came; where there is none, names stay as they are.
        final = len(found) >= len(names) and not kernel.exists("/run/udev/control")
        if names <= found or final or time.monotonic() > deadline:
            return device
        time.sleep(_INTERFACE_POLL_S)


def _differences(entry: Entry, device: Device | None) -> Iterator[str]:
    """Sentences on what the interfaces had and have no more."""
    now = {interface.name: interface.addresses for interface in device.interfaces} if device else {}
    before = [had.name for had in entry.interfaces]
    if not set(before) <= set(now):
        has = f"it is {', '.join(now)} now" if now else "no interface came"
        yield f"{entry.address}: the interface was {', '.join(before)} before, {has}"
    for had in entry.interfaces:
        lost = [text for text in had.addresses if text not in now.get(had.name, ()) and not text.startswith("fe80:")]
        if lost:
            commands = [f"ip addr add {text} dev {had.name}" for text in lost]
            commands += [f"ip link set {had.name} up"] if had.up else []
            yield f"{had.name} had an address before, which a driver does not bring back: `{' && '.join(commands)}`"


def _out_of_date(kernel: Kernel, entry: Entry) -> str:
    """A note on why an entry is out of date; empty if it is not."""
    device = read_device(kernel, entry.address, {})
    if device is None:
        return f"{entry.address}: the device is gone; its entry in {FILE} is dropped"
    if device.id != entry.id:
        return f"{entry.address}: another device ({device.id}) is there now; the entry of {entry.id} is dropped"
    if entry.boot_id != boot_id(kernel):
        return (
            f"{entry.address}: the machine was booted since and the kernel chose {device.driver or 'no driver'} again"
        )
    returned = device.driver == entry.driver and device.driver_override == entry.driver_override
    if returned and entry.state == "bound":
        return f"{entry.address}: another program has given it back to {device.driver or 'no driver'} already"
    return ""


def _of_journal(kernel: Kernel, entries: Iterable[Entry]) -> list[Wanted]:
    found = []
    for entry in entries:
        device = read_device(kernel, entry.address, {})
        if device is not None:
            found.append(Wanted(device, entry))
    return found


def _named(kernel: Kernel, entries: dict[str, Entry], name: str) -> Wanted:
    address = pci_address(name)
    if address is None:
        # The interface went with the driver: only the journal knows which device had it.
        address = next(
            (entry.address for entry in entries.values() if any(name in had.names for had in entry.interfaces)), None
        )
    try:
        device = find_device(kernel, address or name)
    except UsageError as error:
        raise UsageError(f"{error}; `ixyfwd unbind --all` gives back everything that ixyfwd took") from None
    entry = entries.get(device.address)
    if entry is None and device.driver and device.driver not in HOLDING_DRIVERS:
        return Wanted(device, None, (f"{device.label}: {device.driver} has it already; nothing to do",))
    return Wanted(device, entry)
