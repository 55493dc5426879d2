"""An instance's run-time directory: its lock, its sockets. One running ixyfwd per instance name."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.kit.listener import PATH_LIMIT_BYTES
from ixyfwd.kit.locks import FileLock, LockHeldError, LockHolder
from ixyfwd.supervisor.instances import describe, remove_left, sweep_places
from ixyfwd.supervisor.places import LOCK, make_private, places, running

SWEEP_S: Final = 1.0  # for another process to let go of a name whose owner was killed
SWEEP_STEP_S: Final = 0.002


class Instance:
    """The lock on an instance name, held until `close`. What a dead owner left in the directory is swept.

    `notice` is a sentence for the user if the directory is not where one would look for it, or "".
    """

    def __init__(self, name: str) -> None:
        """Take the name.

        Raises RefusedError if that instance is running, IxyfwdError if the directory
        cannot be had.
        """
        self.name = name
        self.notice = ""
        self._locks: dict[Path, FileLock] = {}
        self._closed = False
        try:
            self._refuse_running()
            self._settle()
            self._refuse_running()  # one that began meanwhile, and had another place
        except BaseException:
            self.close()
            raise
        for folder in self._locks:
            remove_left(folder)
        sweep_places()

    def describe(self, command: str, device: str, ports: Sequence[str]) -> None:
        """Say what `ixyfwd instances` shows: the command, whether ports are simulated, their device addresses."""
        with contextlib.suppress(OSError):  # a full disk costs a line in a list
            describe(self.dir, command, device, ports)

    @property
    def dir(self) -> Path:
        """The instance's directory."""
        return next(iter(self._locks))

    def _refuse_running(self) -> None:
        for folder, holder in running(self.name):
            if folder not in self._locks and holder.lives:  # else its lock is held by one that sweeps, or see `_take`
                raise self._refusal(holder)

    def _refusal(self, holder: LockHolder) -> RefusedError:
        return RefusedError(
            f"instance '{self.name}' is already running as {holder}; stop it with "
            f"`ixyfwd stop --instance {self.name}`, or start this one under another name with --instance"
        )

    def _settle(self) -> None:
        """Take the first place that can be had, and more until one of them lasts."""
        failures: list[IxyfwdError] = []
        for place in places():
            folder = place.base / self.name
            try:
                make_private(place.base)
                self._locks[folder] = self._take(folder)
            except OSError as error:
                if place.base.parent.exists():
                    failures.append(IxyfwdError(f"{place.base} cannot be used ({error.strerror})"))
            except LockHeldError as held:
                raise self._refusal(held.holder) from None
            except IxyfwdError as error:
                failures.append(error)
            if self._locks and place.lasting:
                break
        if not self._locks:
            kind = RefusedError if any(isinstance(error, RefusedError) for error in failures) else IxyfwdError
            raise kind(f"no run-time directory can be had: {'; '.join(map(str, failures))}")
        if failures:
            self.notice = f"{failures[0]}; the run-time directory is {self.dir}"

    def _take(self, folder: Path) -> FileLock:
        if len(bytes(folder)) + 40 > PATH_LIMIT_BYTES:
            raise IxyfwdError(f"{folder}: the path is too long for a Unix socket; give --instance a shorter name")
        deadline = time.monotonic() + SWEEP_S
        while True:
            make_private(folder)
            try:
                return FileLock(folder / LOCK)
            except FileNotFoundError:  # its last owner has just removed the directory
                continue
            except LockHeldError as held:  # by a process that lives, or by one that sweeps what a dead one left
                if held.holder.lives or time.monotonic() > deadline:
                    raise
                time.sleep(SWEEP_STEP_S)

    def socket(self, stem: str) -> Path:
        """The path of one of this instance's sockets."""
        return self.dir / f"{stem}.sock"

    def close(self) -> None:
        """Remove what is left of the directory and let the name go."""
        if self._closed:
            return
        self._closed = True
        for folder, lock in self._locks.items():
            remove_left(folder)
            lock.remove()
            with contextlib.suppress(OSError):  # a file of others is there, or it starts at this moment
                folder.rmdir()
            lock.release()
