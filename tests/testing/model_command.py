"""`ixyfwd model` as a process of its own, for tests that drive it or forward through it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ixyfwd.model.client import ModelClient, ModelStats
from tests.testing.support import IXYFWD, eventually, report_of, write_config

SLOW = "generator:rate=10000,flows=16"


class Model:
    """`ixyfwd model` with ports p0, p1, ... in a folder."""

    def __init__(self, folder: Path, *arguments: str, wires: tuple[str, ...] = (SLOW, SLOW)) -> None:
        self.folder = folder
        self.sockets = [folder / f"{n}.sock" for n in range(len(wires))]
        self.control: ModelClient | None = None
        command = [*IXYFWD, "model", *ports(folder, wires), "--json", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(self) -> "Model":
        """Until it listens."""
        eventually(lambda: (self.folder / "0.sock.control").exists() or self.process.poll() is not None, "it listens")
        assert self.process.poll() is None, self.process.communicate()
        return self

    def stats(self) -> ModelStats:
        """What the control socket says."""
        if self.control is None:
            self.control = ModelClient(str(self.folder / "0.sock.control"))
        return self.control.stats()

    def sent(self) -> list[int]:
        """Frames that each generator has sent."""
        return [port["wire"]["generator"]["sent"] for port in self.stats()["ports"]]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, dict[str, Any], str]:
        """Exit code, report, standard error."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, report_of(out), err

    def clean_up(self) -> None:
        if self.control is not None:
            self.control.close()
        if self.process.poll() is None:
            self.process.kill()  # the model process dies with it
        self.process.communicate()


def ports(folder: Path, wires: tuple[str, ...]) -> list[str]:
    """The options for a port per wire."""
    return [word for n, wire in enumerate(wires) for word in ("--port", f"{folder}/{n}.sock", "--wire", wire)]


def forwarder_config(folder: Path, model: Model) -> str:
    left, right = model.sockets
    text = (
        f'[[port]]\nname = "x"\ndevice = "vfio-user:{left}"\n[[port]]\nname = "y"\ndevice = "vfio-user:{right}"\n'
        '[[link]]\nports = ["x", "y"]\n[cpu]\nworkers = 1\n'
    )
    return write_config(folder / "config.toml", text)


class StartModel(Protocol):
    """Starts a model and waits until it listens."""

    def __call__(self, *arguments: str, wires: tuple[str, ...] = (SLOW, SLOW)) -> Model: ...


@contextmanager
def model_commands(folder: Path) -> Iterator[StartModel]:
    """Models with their sockets in a folder; those that still run at the end are killed."""
    found: list[Model] = []

    def start(*arguments: str, wires: tuple[str, ...] = (SLOW, SLOW)) -> Model:
        found.append(Model(folder, *arguments, wires=wires))
        return found[-1].wait()

    try:
        yield start
    finally:
        for model in found:
            model.clean_up()
