"""The SFP+ module in the cage: an I2C slave at the other end of I2CCTL's two wires (datasheet 8.2.3.1; SFF-8472)."""

from enum import Enum

ADDRESS = 0xA0  # 8-bit form; bit 0 set: read
IDENTIFIER_SFP = 0x03
CONNECTOR_COPPER_PIGTAIL = 0x21
TECHNOLOGY_PASSIVE = 0x04
RATE_10G3 = 103  # units of 100 Mb/s
BASE_CHECKSUM, EXTENDED_CHECKSUM = 63, 95  # each over the bytes since the one before


def direct_attach_page() -> bytes:
    """256 bytes of a passive direct-attach cable of one metre, which drivers take from any vendor (SFF-8472)."""
    page = bytearray(256)
    page[0:4] = bytes((IDENTIFIER_SFP, 0x04, CONNECTOR_COPPER_PIGTAIL, 0))
    page[8] = TECHNOLOGY_PASSIVE
    page[12] = RATE_10G3
    page[18] = 1  # metres of copper
    page[20:36] = b"ixyfwd model".ljust(16)
    page[40:56] = b"DAC-1M".ljust(16)
    page[56:60] = b"1".ljust(4)
    page[68:84] = b"0".ljust(16)
    page[84:92] = b"260101".ljust(8)
    page[BASE_CHECKSUM] = sum(page[:BASE_CHECKSUM]) & 0xFF
    page[EXTENDED_CHECKSUM] = sum(page[BASE_CHECKSUM + 1 : EXTENDED_CHECKSUM]) & 0xFF
    return bytes(page)


class _Phase(Enum):
    IDLE = 0  # until the next START
    ADDRESS = 1
    OFFSET = 2
    WRITE = 3  # acknowledged and forgotten: the page is write-protected
    SEND = 4


class I2cSlave:
    """A slave on the two wires of I2C; `sda` is what the slave does to its one: False pulls it low.

    It drives on falling edges of SCL and lets go on the one behind the ninth bit: the driver takes a low SDA at any
    other time for an error.
    """

    def __init__(self, page: bytes) -> None:
        self._page = page
        self.reset()

    def reset(self) -> None:
        """Return to the state after power-on, both wires released."""
        self._offset = 0
        self._scl = self._line = True
        self._stop()

    def drive(self, scl: bool, sda: bool) -> None:
        """The master's two outputs, after every change of them."""
        line = sda and self.sda
        if scl and self._scl:
            if self._line and not line:
                self._start()
            elif line and not self._line:
                self._stop()
        elif scl:
            self._rise(line)
        elif self._scl:
            self._fall()
        self._scl = scl
        self._line = sda and self.sda

    def _start(self) -> None:
        self._enter(_Phase.ADDRESS)

    def _stop(self) -> None:
        self._enter(_Phase.IDLE)

    def _enter(self, phase: _Phase) -> None:
        self._phase = self._next = phase
        self._clocks = self._shift = 0
        self.sda = True

    def _rise(self, line: bool) -> None:
        self._clocks += 1
        if self._clocks <= 8:
            self._shift = self._shift << 1 & 0xFF | line
        elif self._phase is _Phase.SEND:
            self._next = _Phase.IDLE if line else _Phase.SEND  # the master acknowledges, or has enough

    def _fall(self) -> None:
        if self._phase is _Phase.IDLE:
            return
        if self._clocks == 9:
            self._enter(self._next)
        elif self._clocks == 8:
            self.sda = self._phase is _Phase.SEND or not self._take(self._shift)
        if self._phase is _Phase.SEND and self._clocks < 8:
            self._send_bit()

    def _send_bit(self) -> None:
        self.sda = bool(self._page[self._offset] >> 7 - self._clocks & 1)
        if self._clocks == 7:
            self._offset = (self._offset + 1) % len(self._page)

    def _take(self, byte: int) -> bool:
        """A whole byte from the master; whether to acknowledge it."""
        if self._phase is _Phase.ADDRESS:
            if byte & ~1 != ADDRESS:
                self._phase = _Phase.IDLE
                return False
            self._next = _Phase.SEND if byte & 1 else _Phase.OFFSET
        else:
            if self._phase is _Phase.OFFSET:
                self._offset = byte
            self._next = _Phase.WRITE
        return True
