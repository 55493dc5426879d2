"""Taking devices from their kernel drivers: `bind`. All are checked before the first is touched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.host import steps
from ixyfwd.host.devices import HOLDING_DRIVERS, Device, find_device, read_device
from ixyfwd.host.holders import holders
from ixyfwd.host.journal import Entry, Journal, SavedInterface, load
from ixyfwd.host.kernel import Kernel
from ixyfwd.host.restore import boot_id, put_back
from ixyfwd.host.steps import NO_DRIVER, VFIO_PCI, Step
from ixyfwd.host.usage import Network, look, reasons

TARGETS: Final = (VFIO_PCI, NO_DRIVER)


@dataclass(frozen=True)
class Binding:
    """A device and what happens to it. No steps: it is where it should be already. `notes` are sentences."""

    device: Device
    target: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def bind(kernel: Kernel, names: Sequence[str], target: str | None, *, force: bool) -> list[Binding]:
    """Give each device to `target` (None: vfio-pci where it has an IOMMU group, else no driver).

    Raises RefusedError for a device in use unless `force`, UsageError for a name that means none, and IxyfwdError if
    a step fails; then everything is as it was before, or the error says what is not.
    """
    kernel.check_privilege()
    plan(kernel, names, target, force=force)  # a refusal leaves no trace, not even the journal's folder
    with Journal(kernel) as journal:
        bindings = plan(kernel, names, target, force=force)
        moving = [binding for binding in bindings if binding.steps]
        if moving:
            _move(kernel, journal, moving)
        _arrived(journal, [binding for binding in bindings if not binding.steps])
    return bindings


def _arrived(journal: Journal, bindings: Sequence[Binding]) -> None:
    """Where an earlier `bind` was killed before its last write, the device is there and the journal is not."""
    found = {binding.device.address: binding.target for binding in bindings}
    late = [entry for entry in journal.entries.values() if entry.address in found and entry.state != "bound"]
    if late:
        journal.put(replace(entry, state="bound", target=found[entry.address]) for entry in late)


def plan(kernel: Kernel, names: Sequence[str], target: str | None, *, force: bool) -> list[Binding]:
    """What `bind` would do; touches nothing. Raises RefusedError and UsageError as `bind` does."""
    entries = load(kernel)  # a damaged journal is told before anything else
    meant = (find_device(kernel, _meaning(kernel, entries, name)) for name in names)
    found = {device.address: device for device in meant}
    network = look(kernel)
    refusals: list[str] = []
    bindings = []
    for device in found.values():
        to = _target(device, target)
        todo = () if _is_with(device, to) else tuple(steps.take(kernel, device, to))
        against, notes = _against(kernel, device, to, set(found), network) if todo else ([], [])
        if force:
            notes += [f"{device.label}: by force although {clause}" for clause, _ in against]
            against = []
        refused = [f"{device.label}: {clause}; {remedy}, or use --force" for clause, remedy in against]
        if todo:  # not even by force: the kernel would wait for them, for ever
            refused += [
                f"{device.label}: {holder} has it open; stop that process first" for holder in holders(kernel, device)
            ]
        refusals += refused
        bindings.append(Binding(device, to, todo, tuple(notes)))
    if refusals:
        raise RefusedError("\n".join(refusals))
    return bindings


def _meaning(kernel: Kernel, entries: Mapping[str, Entry], name: str) -> str:
    """The address of a device that was bound under an interface's name before; else the name itself."""
    if kernel.exists(f"/sys/class/net/{name}"):
        return name
    now = boot_id(kernel)
    had = (entry for entry in entries.values() if entry.boot_id == now)
    return next((entry.address for entry in had if any(name in old.names for old in entry.interfaces)), name)


def _target(device: Device, wanted: str | None) -> str:
    if wanted is None:
        return VFIO_PCI if device.iommu_group else NO_DRIVER
    if wanted == VFIO_PCI and not device.iommu_group:
        raise UsageError(
            f"{device.label}: vfio-pci needs an IOMMU and this device is in no IOMMU group; switch the IOMMU on "
            "(firmware, and intel_iommu=on or amd_iommu=on on the kernel's command line), or use --driver none"
        )
    return wanted


def _is_with(device: Device, target: str) -> bool:
    if target == NO_DRIVER:
        return not device.driver and device.driver_override == NO_DRIVER
    return device.driver == target


def _against(
    kernel: Kernel, device: Device, target: str, taken: set[str], network: Network
) -> tuple[list[tuple[str, str]], list[str]]:
    """What `--force` overrides, each with what to do instead, and what is worth a note anyhow."""
    against = [(reason.text, f"{reason.remedy} first") for reason in reasons(kernel, device, network)]
    notes = []
    for address in device.group_others if target == VFIO_PCI else ():
        other = read_device(kernel, address, network.addresses)
        if other is None or address in taken:
            continue
        if other.driver and other.driver not in HOLDING_DRIVERS:
            clause = (
                f"IOMMU group {device.iommu_group} also holds {other.label}, which {other.driver} drives, and VFIO "
                "gives out whole groups only"
            )
            against.append((clause, "bind that one too"))
        else:
            notes.append(f"{device.label}: IOMMU group {device.iommu_group} also holds {other.label}")
    return against, notes


def _move(kernel: Kernel, journal: Journal, bindings: Sequence[Binding]) -> None:
    before = dict(journal.entries)
    now = boot_id(kernel)
    others = kernel.alternative_names()
    entries = {
        binding.device.address: _entry(binding, before.get(binding.device.address), now, others) for binding in bindings
    }
    journal.put(entries.values())
    begun: list[Binding] = []
    try:
        for binding in bindings:
            begun.append(binding)
            steps.run(kernel, binding.steps)
            _verify(kernel, binding)
        journal.put(replace(entry, state="bound") for entry in entries.values())
    except BaseException as error:
        failed = _undo(kernel, journal, begun, entries, before)
        if isinstance(error, IxyfwdError):
            told = failed or ["the drivers are as they were before"]
            raise type(error)("\n".join([str(error), *told])) from None
        raise


def _verify(kernel: Kernel, binding: Binding) -> None:
    address = binding.device.address
    after = read_device(kernel, address, {})
    wanted = "" if binding.target == NO_DRIVER else binding.target
    if after is None:
        raise IxyfwdError(f"{binding.device.label}: the device vanished from the bus while it changed hands")
    if after.driver != wanted:
        raise IxyfwdError(
            f"{binding.device.label}: found {after.driver or 'no driver'} after the change, expected {binding.target}; "
            "`dmesg` may say why"
        )


def _undo(
    kernel: Kernel, journal: Journal, begun: Sequence[Binding], entries: dict[str, Entry], before: dict[str, Entry]
) -> list[str]:
    """Back to where each device was; what could not be put back stays in the journal. Returns sentences on that."""
    failed: dict[str, str] = {}
    for binding in reversed(begun):
        device = binding.device
        here = replace(
            entries[device.address],
            driver=device.driver,
            module=device.module,
            driver_override=device.driver_override,
        )
        try:
            put_back(kernel, here)
        except IxyfwdError as error:
            failed[device.address] = f"{device.label}: not put back: {error}; `ixyfwd unbind --restore` tries again"
    try:
        journal.drop(address for address in entries if address not in failed and address not in before)
        journal.put(before[address] for address in entries if address not in failed and address in before)
    except IxyfwdError as error:
        failed[""] = f"{error}; `ixyfwd unbind --restore` cleans it up"
    return list(failed.values())


def _entry(binding: Binding, older: Entry | None, now: str, others: Mapping[str, tuple[str, ...]]) -> Entry:
    """Where the device came from. One that is away already came from where its older entry says. `others`: alternative
    names by interface."""
    device = binding.device
    away = older is not None and older.boot_id == now and older.id == device.id
    if older is not None and away and device.driver in {"", older.driver, *HOLDING_DRIVERS}:
        return replace(older, target=binding.target, state="binding")
    override = older.driver_override if older is not None and away else device.driver_override
    return Entry(
        address=device.address,
        id=device.id,
        driver=device.driver,
        module=device.module,
        driver_override=override,
        interfaces=tuple(
            SavedInterface(found.name, found.mac, found.up, found.addresses, others.get(found.name, ()))
            for found in device.interfaces
        ),
        target=binding.target,
        state="binding",
        boot_id=now,
    )
