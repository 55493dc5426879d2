"""Descriptor bits: the same in Python and in C, and in no Python module twice."""

import re

import pytest

from ixyfwd.nic.ixgbe import descriptors
from tests.testing.support import ROOT

PACKAGE = ROOT / "ixyfwd"
HIGH_DWORD = 32  # C counts d3's bits in the second word, of d2 and d3

# Name in C, name in Python, by how many bits C's value is further up
SAME = [
    ("RX_DD", "RX_DD", 0),
    ("RX_EOP", "RX_EOP", 0),
    ("RX_RXE", "RX_RXE", 0),
    ("TX_DD", "TX_DD", HIGH_DWORD),
    ("TX_EOP", "TX_EOP", 0),
    ("TX_RS", "TX_RS", 0),
    ("TX_COMMAND", "TX_COMMAND", 0),
]


def defines() -> dict[str, str]:
    """What `ixgbe.h` defines, without suffixes and comments."""
    header = next(PACKAGE.rglob("ixgbe.h")).read_text()
    found = re.findall(r"^#define ((?:RX|TX)_\w+) ([^/\n]+)", header, re.MULTILINE)
    return {name: re.sub(r"U?INT(?:32|64)_C", "", text).strip() for name, text in found}


def value_of(text: str) -> int:
    """Of numbers, shifts and sums."""
    assert re.fullmatch(r"[0-9a-fA-Fx()<+ ]+", text), text
    return int(eval(text))


@pytest.mark.parametrize(("in_c", "in_python", "further_up"), SAME)
def test_c_and_python_agree(in_c: str, in_python: str, further_up: int) -> None:
    assert value_of(defines()[in_c]) == getattr(descriptors, in_python) << further_up


def test_c_and_python_shift_the_payload_length_alike() -> None:
    assert value_of(defines()["TX_PAYLEN_SHIFT"]) == HIGH_DWORD + descriptors.TX_PAYLEN_SHIFT


def test_every_define_is_compared() -> None:
    assert set(defines()) == {name for name, _, _ in SAME} | {"TX_PAYLEN_SHIFT"}


def test_they_are_spelt_out_once() -> None:
    """Outside the model, which judges the driver by constants of its own."""
    name = "_?(?:(?:RX|TX)_)?(?:DD|EOP|RXE|RS|PAYLEN_SHIFT|DESCRIPTOR_BYTES)"
    spelt = re.compile(rf"^{name}(?:: Final)? = [0-9]|0x2330_?0000", re.MULTILINE)
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "model" not in path.relative_to(PACKAGE).parts and spelt.search(path.read_text())
    }
    assert found == {"nic/ixgbe/descriptors.py"}
