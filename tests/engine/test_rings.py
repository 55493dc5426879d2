"""Rings that differ between the ports of a worker: in their device addresses, in their family."""

import pytest

from ixyfwd.engine.contract import FusingEngine
from ixyfwd.engine.verdict import drop_for, out_of
from ixyfwd.errors import UsageError
from tests.testing.fake_nic import Frame, MakeRig, Rig


def test_each_port_finds_the_buffers_at_its_own_addresses(make_rig: MakeRig) -> None:
    """The fake devices refuse any other. Buffers go around: received by one port, sent by the other, and back."""
    rig = make_rig(ports=2, apart=True)
    rig.start()
    batch = rig.engine.new_batch(32)
    for n in range(40):
        for source, target in ((0, 1), (1, 0)):
            for k in range(n % 20 + 1):
                assert rig.nic[source].receive(Frame((60 + k,)))
            assert rig.forward(source, target, batch) == n % 20 + 1
            rig.nic[target].transmit(32)
        if n % 7 == 0:
            freed = rig.engine.tx(1).clean()
            assert freed % 32 == 0
        rig.check()
    assert len(rig.nic[0].sent) == len(rig.nic[1].sent) == sum(n % 20 + 1 for n in range(40))


def test_what_was_dropped_is_received_into_at_the_right_address() -> None:
    """Of the vector engine, which keeps addresses beside the free stack."""
    rig = Rig("vector", ports=2, buffers=240, apart=True)
    rig.start()
    batch = rig.engine.new_batch(16)
    for _ in range(30):
        for source in (0, 1):
            for _ in range(16):
                assert rig.nic[source].receive(Frame())
            assert rig.rx(source, batch) == 16
            for i in range(16):
                batch.verdicts[i] = drop_for(0) if i % 3 else out_of(1 - source)
            rig.engine.bind_settle(batch, 0)()
            rig.engine.bind_dispatch(batch, source)()
            rig.nic[1 - source].poll_doorbells()
            rig.nic[1 - source].transmit(16)
            rig.check()


def test_ports_at_different_addresses_have_no_fused_loop() -> None:
    rig = Rig("native", ports=2, apart=True)
    assert isinstance(rig.engine, FusingEngine)
    assert rig.engine.fuses([(0, 0)]) and not rig.engine.fuses([(0, 1), (1, 0)])
    with pytest.raises(UsageError, match="one set of addresses"):
        rig.engine.bind_forward([(0, 1)], 8, None, 1)
