"""`ixyfwd doctor --port` and `ixyfwd registers`: output, exit codes, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.cli.app import run
from ixyfwd.pci.open import open_function
from tests.testing.model_command import StartModel, model_commands

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartModel]:
    with model_commands(tmp_path) as started:
        yield started


def answer(capture: Capture) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capture.readouterr().out.splitlines()[-1])
    return found


def test_report_and_registers_of_a_model(start: StartModel, capsys: Capture) -> None:
    address = f"vfio-user:{start(wires=('none',)).sockets[0]}"
    assert run(["doctor", "--port", address, "--json"]) == 0
    report = answer(capsys)
    assert (report["schema"], report["port"]) == (1, address)
    assert {"topic": "device", "name": "id", "found": "8086:10fb", "value": "8086:10fb", "concern": None} in report[
        "facts"
    ]
    assert run(["doctor", "--port", address]) == 0
    assert "PCIe\n  link" in capsys.readouterr().out
    assert run(["registers", address, "rxdctl[3]", "--json"]) == 0
    (register,) = answer(capsys)["registers"]
    assert (register["name"], register["offset"], register["fields"]["ENABLE"]) == ("RXDCTL[3]", 0x10E8, 0)
    assert run(["registers", address]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("DCA_RXCTRL[0 to 127]") for line in lines)
    assert any(line.startswith("EICR ") and "not read" in line for line in lines)


def test_a_port_that_a_run_holds_is_refused(start: StartModel, capsys: Capture) -> None:
    address = f"vfio-user:{start(wires=('none',)).sockets[0]}"
    function = open_function(address)
    try:
        assert run(["doctor", "--port", address]) == 3
        assert "is in use" in capsys.readouterr().err
    finally:
        function.close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["doctor", "--port", "sim:p0"], "lives inside a run"),
        (["doctor", "--port", "nonsense"], "of an unknown kind"),
        (["doctor", "--port", "vfio-user:/nowhere", "--measure"], "--port: found with"),
        (["registers"], "expected ADDRESS"),
        (["registers", "vfio-user:/nowhere", "RXDC"], "did you mean"),
        (["registers", "vfio-user:/nowhere", "RX DCTL"], "is no name"),
        (["registers", "--file", "/nowhere/dump"], "cannot be read"),
        (["registers", "--file", "/dev/null"], "no dump of registers"),
        (["registers", "--file", "/"], "cannot be read"),
    ],
)
def test_wrong_use_is_one_sentence(words: list[str], expected: str, capsys: Capture) -> None:
    assert run(words) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1


def test_a_dump_from_far_away(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "dump.txt"
    file.write_text("".join(f"0x{0x1010 + 0x40 * n:05X}: RDH{n:02d} (Head {n:02d}) 0x{n:08X}\n" for n in range(64)))
    assert run(["registers", "--file", str(file), "RDH[7]", "--json"]) == 0
    assert answer(capsys)["registers"][0]["word"] == 7
    assert run(["registers", "--file", str(file), "LINKS"]) == 2
    assert "no register LINKS here" in capsys.readouterr().err
