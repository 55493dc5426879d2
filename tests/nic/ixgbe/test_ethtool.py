"""Dumps of `ethtool -d`: its text, the kernel's raw words, and anything else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.errors import UsageError
from ixyfwd.nic.ixgbe.ethtool import RAW_WORDS, decode
from ixyfwd.nic.registry import decode_dump

WORD = st.integers(0, 0xFFFFFFFF)
NAMED = ("CTRL", "STATUS", "RDRXCTL", "RXCTRL", "RXCSUM", "MRQC", "AUTOC", "AUTOC2")


def text(*lines: str, fill: int = 24) -> bytes:
    filler = [
        f"0x{0x1010 + 0x40 * n:05X}: RDH{n:02d}       (Receive Descriptor Head {n:02d})     0x{n:08X}"
        for n in range(fill)
    ]
    return "\n".join([*lines, *filler, ""]).encode()


def test_lines_are_known_by_name_with_their_fields() -> None:
    found = decode(
        text(
            "0x042A4: LINKS (Link Status register)                 0x7CA0A0F0",
            "       Link Status:                                   up",
            "0x03224: FCRTL1      (Flow Ctrl Rx Threshold low 1)   0x80000020",
            "0x03200: FCCTV0      (Flow Ctrl Tx Timer Value 0)     0x0000FFFF",
            "0x04268: MHADD       (MAC Addr High/Max Frame size)   0x05EE0000",
            "0x01028: RXDCTL63    (Receive Descriptor Control 63)  0x02000000",
            "0x04074: gprc        (Good Packets Received Count)    0x00000007",
            "0x01030: qprc03      (Queue Packets Rx Count 03)      0x00000009",
            "0x05810: WUS         (Wake Up Status)                 0x00000001",
            "0x03020: RTRUP2TC    (Rx User Prio to Traffic Classes)0x00000002",
        )
    )
    assert found is not None
    by_name = {one.name: one for one in found}
    assert dict(by_name["LINKS"].fields)["UP"] == 1
    assert by_name["FCRTL[1]"].offset == 0x3224 and by_name["FCTTV[0]"].word == 0xFFFF
    assert dict(by_name["MAXFRS"].fields)["MFS"] == 1518
    assert dict(by_name["RXDCTL[63]"].fields)["ENABLE"] == 1
    assert by_name["GPRC"].word == 7 and by_name["QPRC[3]"].word == 9
    assert by_name["WUS"].note == "not in ixyfwd's table"
    assert by_name["RTRUP2TC"].word == 2
    assert by_name["RDH[23]"].word == 23


@pytest.mark.parametrize("count", RAW_WORDS)
def test_raw_words_are_known_by_their_place(count: int) -> None:
    words = [0] * count
    words[0], words[1065], words[373 + 5], words[1128] = 4, 1 << 30, 1 << 25, 8
    found = decode(struct.pack(f"<{count}I", *words))
    assert found is not None
    fields = {one.name: dict(one.fields) for one in found}
    assert fields["CTRL"]["GIO_DIS"] == 1 and fields["LINKS"]["UP"] == 1
    assert fields["RXDCTL[5]"]["ENABLE"] == 1 and fields["MFLCN"]["RFCE"] == 1
    assert len({one.name for one in found}) == len(found)


@given(st.lists(st.tuples(st.sampled_from(NAMED), WORD), max_size=40))
def test_whatever_a_line_says_comes_out(lines: list[tuple[str, int]]) -> None:
    found = decode(text(*(f"0x00000: {name} (x) 0x{word:08X}" for name, word in lines)))
    assert found is not None
    assert [(one.name, one.word) for one in found[: len(lines)]] == lines


@given(st.binary(max_size=6000) | st.text(max_size=3000).map(lambda line: line.encode("utf-8", "replace")))
def test_garbage_is_one_sentence(data: bytes) -> None:
    try:
        decode_dump(data, "dump.txt")
    except UsageError as error:
        assert str(error).startswith("dump.txt: ") and "\n" not in str(error)


@given(
    st.lists(st.sampled_from(["0x042A4: ", "LINKS", "9" * 30, " (", ") ", "0x7CA0A0F0", "\n", "\0", "é"]), max_size=400)
)
def test_pieces_of_a_dump_break_nothing(pieces: list[str]) -> None:
    decode("".join(pieces).encode())


def test_an_index_that_the_table_has_not_stays_as_it_is_printed() -> None:
    found = decode(text("0x01028: RXDCTL9999 (x) 0x00000001"))
    assert found is not None and found[0].note == "not in ixyfwd's table"
