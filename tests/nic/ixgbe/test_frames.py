"""Frames counted in descriptors that a stopped port left behind."""

import struct

import pytest

from ixyfwd.nic.ixgbe.frames import queued_frames, received_frames

DD, EOP = 1, 2
IFCS_DEXT_DATA = 0x2230_0000


def ring(d2: list[int]) -> memoryview:
    return memoryview(b"".join(struct.pack("<QII", 0xFFFF_FFFF_FFFF, word, 0xFFFF_FFFF) for word in d2))


@pytest.mark.parametrize(
    ("words", "slots", "frames"),
    [
        ([DD, DD | EOP, DD | EOP], range(3), 2),
        ([DD | EOP, DD, DD], [1, 2, 0], 1),  # around the end
        ([DD | EOP, DD | EOP, DD | EOP], range(1, 2), 1),
        ([DD | EOP, DD, DD], range(1, 3), 0),
        ([DD | EOP, 0, DD | EOP], range(3), None),  # the middle one was not written back
        ([DD | EOP, 0, DD | EOP], [2, 0], 2),
        ([0, 0], [], 0),
        ([0xFFFF_FFFC], [0], None),  # address bits of a descriptor that the device has not touched
    ],
)
def test_received(words: list[int], slots: list[int], frames: int | None) -> None:
    assert received_frames(ring(words), slots) == frames


@pytest.mark.parametrize(
    ("words", "slots", "frames"),
    [
        ([IFCS_DEXT_DATA | 2048, IFCS_DEXT_DATA | 1 << 24 | 60, IFCS_DEXT_DATA | 3 << 24 | 1 << 27], range(3), 2),
        ([0, 0, IFCS_DEXT_DATA | 1 << 24], [2], 1),
        ([IFCS_DEXT_DATA | 0xFFFF], [0], 0),
        ([], [], 0),
    ],
)
def test_queued(words: list[int], slots: list[int], frames: int) -> None:
    assert queued_frames(ring(words), slots) == frames
