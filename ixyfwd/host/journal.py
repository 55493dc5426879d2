"""What was taken from whom: written and on the disk before the first change, so that a crash can be undone."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, get_args

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.host.kernel import Kernel
from ixyfwd.kit.locks import FileLock, LockHeldError
from ixyfwd.kit.pciaddress import pci_address

FOLDER: Final = "/var/lib/ixyfwd"
FILE: Final = f"{FOLDER}/bindings.json"
LOCK: Final = f"{FOLDER}/bindings.lock"
VERSION: Final = 1

# Between "binding" and "bound", and from "unbinding" on, a device is on its way: that is what a crash leaves behind.
EntryState = Literal["binding", "bound", "unbinding"]
_STATES: Final = get_args(EntryState)
_NAME: Final = re.compile(r"[^-./\x00-\x1f][^/\x00-\x1f]*|")  # it becomes part of a path and modprobe's argument


@dataclass(frozen=True)
class SavedInterface:
    """What an interface was before its device was taken."""

    name: str
    mac: str
    up: bool
    addresses: tuple[str, ...]
    alternatives: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The interface's names, alternative ones too."""
        return (self.name, *self.alternatives)


@dataclass(frozen=True)
class Entry:
    """A device that is away from its driver. Empty strings: it had no driver, no override; no module by that name.

    `boot_id`: of the boot in which this happened; every boot starts with the kernel's own choice of drivers.
    """

    address: str
    id: str
    driver: str
    module: str
    driver_override: str
    interfaces: tuple[SavedInterface, ...]
    target: str
    state: EntryState
    boot_id: str


class Journal:
    """All entries by address, under a lock that is held as long as this is open (`with Journal(kernel) as journal`)."""

    def __init__(self, kernel: Kernel) -> None:
        """Raises RefusedError if another process has it, IxyfwdError if it cannot be had or is damaged."""
        self._kernel = kernel
        self._lock = _lock(kernel)
        try:
            self._entries = load(kernel)
        except BaseException:
            self.close()
            raise

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The entries by PCI address."""
        return self._entries

    def put(self, entries: Iterable[Entry]) -> None:
        """Add or replace entries, all in one write. Raises IxyfwdError; then the journal is as it was."""
        self._save({**self._entries, **{entry.address: entry for entry in entries}})

    def drop(self, addresses: Iterable[str]) -> None:
        """Remove entries. Raises IxyfwdError; then the journal is as it was."""
        gone = set(addresses)
        if gone & set(self._entries):
            self._save({address: entry for address, entry in self._entries.items() if address not in gone})

    def _save(self, entries: dict[str, Entry]) -> None:
        data = {"version": VERSION, "devices": [dataclasses.asdict(entry) for entry in entries.values()]}
        try:
            self._kernel.replace(FILE, f"{json.dumps(data, indent=1)}\n".encode())
        except OSError as error:
            raise IxyfwdError(f"the journal {FILE} cannot be written ({error.strerror})") from None
        self._entries = entries

    def close(self) -> None:
        """Release the lock; a second call has no effect."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def load(kernel: Kernel) -> dict[str, Entry]:
    """The entries that are on the disk. Raises IxyfwdError if the file cannot be read or is not a journal."""
    try:
        text = kernel.at(FILE).read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise IxyfwdError(f"the journal {FILE} cannot be read ({why}); nothing was changed") from None
    try:
        data = json.loads(text)
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']!r}, expected {VERSION}")
        entries = [_entry(item) for item in data["devices"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise IxyfwdError(
            f"the journal {FILE} is damaged ({why}); nothing was changed: move it away, then `ixyfwd unbind DEVICE` "
            "lets the kernel choose the driver"
        ) from None
    return {entry.address: entry for entry in entries}


def _entry(item: Any) -> Entry:
    for key in ("id", "driver", "module", "driver_override", "target", "boot_id"):
        if not isinstance(item[key], str):
            raise ValueError(f"{key} is {item[key]!r}, expected text")
    for key in ("driver", "module", "driver_override", "target"):
        if not _NAME.fullmatch(item[key]):
            raise ValueError(f"{key} is {item[key]!r}, expected a driver's name")
    if pci_address(str(item["address"])) != item["address"]:
        raise ValueError(f"address is {item['address']!r}, expected a PCI address")
    if item["state"] not in _STATES:
        raise ValueError(f"state is {item['state']!r}, expected one of {', '.join(_STATES)}")
    interfaces = tuple(
        SavedInterface(
            name=str(had["name"]),
            mac=str(had["mac"]),
            up=bool(had["up"]),
            addresses=tuple(map(str, had["addresses"])),
            alternatives=tuple(map(str, had.get("alternatives", ()))),
        )
        for had in item["interfaces"]
    )
    names = {field.name for field in dataclasses.fields(Entry)} - {"interfaces"}
    return Entry(**{name: item[name] for name in names}, interfaces=interfaces)


def _lock(kernel: Kernel) -> FileLock:
    folder = kernel.at(FOLDER)
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        return FileLock(kernel.at(LOCK))
    except OSError as error:
        raise IxyfwdError(
            f"the journal's folder {FOLDER} cannot be used ({error.strerror}); nothing was changed, because without "
            "a journal a crash could not be undone"
        ) from None
    except LockHeldError as held:
        raise RefusedError(
            f"another ixyfwd is changing drivers at this moment: {held.holder}; wait for its end and try again"
        ) from None
