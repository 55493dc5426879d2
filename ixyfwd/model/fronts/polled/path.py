"""What the data path does differently for a polled port (`datapath/_c/dma/polled.c`)."""

from typing import TYPE_CHECKING, Any

from ixyfwd.model.datapath._datapath import ffi, lib

if TYPE_CHECKING:
    from ixyfwd.model.datapath.binding import DatapathPort

NOTHING_MISSED = 2**64 - 1


class PolledPath:
    """Doorbells in the driver's file, and descriptors that wait for memory to be found."""

    def __init__(self, datapath: "DatapathPort", bar: Any) -> None:
        """From now on tails are levels in `bar`, a writable buffer of BAR0's size."""
        self._handle = datapath.handle
        self._bar = ffi.from_buffer(bar)  # C keeps the address
        lib.dp_set_polled(self._handle, self._bar)

    def missed(self) -> int | None:
        """A device address that no mapping holds and that descriptors wait for."""
        address = int(lib.dp_missed(self._handle))
        return None if address == NOTHING_MISSED else address

    def answer_missed(self, known: bool) -> None:
        """Let the descriptors go on that wait for the missed address.

        `known`: it is mapped by now; otherwise no driver has memory there, and they end in the fault that is theirs.
        """
        lib.dp_answer_missed(self._handle, known)
