"""The model's side of a check: `ixyfwd model` with two ports, and what it has to say afterwards."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ixyfwd.errors import IxyfwdError
from ixyfwd.model.client import ModelClient
from tests.vm.guest import ROOT, CheckError

START_TIMEOUT_S = 20.0


class Model:
    """Two ports, a and b, each with the wire it is given."""

    def __init__(self, folder: Path, device_id: str, wires: Sequence[str], options: Sequence[str] = ()) -> None:
        self.sockets = [folder / f"{name}.sock" for name in "ab"[: len(wires)]]
        self._log = (folder / "model.log").open("wb")
        control = folder / "control.sock"
        ports = [
            word
            for path, wire in zip(self.sockets, wires, strict=True)
            for word in ("--port", f"{path.stem}={path}", "--wire", wire)
        ]
        command = [sys.executable, "-m", "ixyfwd", "model", *ports, "--device-id", device_id, "--control", str(control)]
        self._process = subprocess.Popen(
            [*command, "--json", *options],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self.client = self._connect(control)
        except BaseException:
            self.close()
            raise

    def faults(self) -> dict[str, Any]:
        """Recorded misuse by port; empty when the driver did nothing wrong."""
        found = {port["name"]: port["faults"] for port in self.client.stats()["ports"]}
        return {name: faults for name, faults in found.items() if faults["total"]}

    def fault_total(self) -> int:
        """Over both ports."""
        return sum(faults["total"] for faults in self.faults().values())

    def close(self) -> None:
        """Ask it to end, then insist."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _connect(self, control: Path) -> ModelClient:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if control.exists() and all(path.exists() for path in self.sockets):
                with contextlib.suppress(IxyfwdError):
                    return ModelClient(str(control), timeout_s=10.0)
            time.sleep(0.05)
        raise CheckError(f"the model did not start within {START_TIMEOUT_S:g} s; see model.log")
