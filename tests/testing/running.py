"""The commands that run for a while (`start`, `generate`, `capture`, `model`, `bench`), as tests start and end them."""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ixyfwd.model.client import ModelClient
from ixyfwd.supervisor.places import runtime_dir
from tests.testing.support import (
    IXYFWD,
    Instance,
    assert_captured_sum,
    assert_forwarded_sum,
    assert_generated_sum,
    descendants,
    eventually,
)

END_S = 60.0  # generous: a hang is the fault, not a slow machine
RUNS = ("start", "generate", "capture", "model")


@dataclass
class Running:
    """A command under test."""

    command: str
    folder: Path
    instance: str
    stack: ExitStack = field(default_factory=ExitStack)

    def words(self, duration_s: float | None = None) -> list[str]:
        """Its arguments; without `duration_s` it goes on for longer than any test."""
        if self.command == "bench":
            return ["bench", "soak", "--duration", f"{duration_s or 600:g}s", "--rate", "1e4"]
        return [*self._endless_words(), *(["--duration", f"{duration_s:g}"] if duration_s else [])]

    def _endless_words(self) -> list[str]:
        match self.command:
            case "start":
                return ["start", "--instance", self.instance]
            case "generate":
                return ["generate", "sim:p0", "--rate", "1000", "--instance", self.instance]
            case "capture":
                return ["capture", "sim:p0", "--instance", self.instance]
            case _:
                return ["model", "--port", f"p0={self.folder}/p0.sock", "--wire", "generator", "--verbose"]

    def launch(self, *more: str, before: Sequence[str] = (), **options: Any) -> "subprocess.Popen[str]":
        """In the background, in a session of its own, by the command `before`; killed with everything below it when
        the test ends."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True, **options}
        process = subprocess.Popen([*before, *IXYFWD, *self.words(), *more], text=True, **options)
        self.stack.callback(kill, process)
        if self.command == "bench":
            self.instance = f"bench-{process.pid}"  # the name that it takes: it has no option for one
        return process

    def wait_for_the_run(self, process: "subprocess.Popen[str]") -> list[psutil.Process]:
        """Until its children forward; returns them."""

        def children() -> list[psutil.Process]:
            assert process.poll() is None, process.communicate()
            return descendants(process.pid)

        wanted = 1 if self.command == "model" else 2
        eventually(lambda: len(children()) >= wanted, "its children run", END_S)
        if self.command == "model":
            eventually((self.folder / "p0.sock.control").exists, "the model listens", END_S)
            ModelClient(str(self.folder / "p0.sock.control")).close()
        else:
            eventually(Instance(self.instance).running, "the instance runs", END_S)
        return children()

    def assert_nothing_left(self, children: Sequence[psutil.Process]) -> None:
        eventually(lambda: not any(child.is_running() for child in children), "its children are gone")
        assert not list(self.folder.glob("*.sock*"))
        assert not list(runtime_dir(self.instance).glob("*.sock"))


def kill(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        for child in descendants(process.pid):
            child.kill()
        process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


Make = Callable[[str], Running]


def assert_account(report: dict[str, Any]) -> None:
    """Every frame is in one place."""
    assert report["error"] is None
    if "received" in report:
        assert_captured_sum(report)
    elif "asked" in report:
        assert_generated_sum(report)
    elif "rx_packets" in report:
        assert_forwarded_sum(report)
