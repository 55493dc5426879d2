"""Both engines side by side, with two batches in hand at a time and a pool that may run dry: after every step the same
memory, the same batches, and every buffer in exactly one place."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ixyfwd.engine.batch import Batch
from tests.testing.fake_nic import ENGINES, Frame, Rig

PORTS = 2
port_numbers = st.integers(0, PORTS - 1)
lengths = st.integers(1, 2048)
frames = st.builds(
    Frame,
    pieces=st.one_of(st.tuples(lengths), st.tuples(st.just(2048), lengths), st.tuples(*[st.just(2048)] * 3, lengths)),
    rss_hash=st.integers(0, 2**32 - 1),
    # Every bit that the device may set besides DD and EOP, with RXE (29) rarely.
    status=st.one_of(st.integers(0, 2**32 - 1).map(lambda v: v & ~(3 | 1 << 29)), st.just(1 << 29)),
    vlan=st.integers(0, 0xFFFF),
)
good_runs = st.integers(1, 64).map(lambda n: [Frame((60 + n,), n)] * n)


class BothEngines(RuleBasedStateMachine):
    """Two rigs that are treated alike."""

    def __init__(self) -> None:
        super().__init__()
        self.rigs: list[Rig] = []
        self.batches: list[list[Batch]] = []

    @initialize(
        ring_size=st.sampled_from([64, 128]),
        segmented=st.booleans(),
        spare=st.integers(0, 150),
        capacities=st.tuples(st.integers(1, 130), st.integers(1, 40)),
    )
    def build(self, ring_size: int, segmented: bool, spare: int, capacities: tuple[int, int]) -> None:
        buffers = PORTS * ring_size + spare
        self.rigs = [
            Rig(name, ports=PORTS, ring_size=ring_size, buffers=buffers, segmented=segmented) for name in ENGINES
        ]
        self.batches = [[rig.engine.new_batch(c) for c in capacities] for rig in self.rigs]
        for rig in self.rigs:
            rig.start()

    @rule(port=port_numbers, arriving=st.one_of(good_runs, st.lists(frames, min_size=1, max_size=12)))
    def receive(self, port: int, arriving: list[Frame]) -> None:
        for frame in arriving:
            took = [rig.nic[port].receive(frame) for rig in self.rigs]
            assert took[0] == took[1]

    @rule(port=port_numbers, which=st.integers(0, 1))
    def rx(self, port: int, which: int) -> None:
        if any(batches[which].count for batches in self.batches):
            return  # a worker sends a batch before it fills it again
        counts = [rig.rx(port, batches[which]) for rig, batches in zip(self.rigs, self.batches, strict=True)]
        assert counts[0] == counts[1]

    @rule(port=port_numbers, which=st.integers(0, 1))
    def tx(self, port: int, which: int) -> None:
        counts = [rig.tx(port, batches[which]) for rig, batches in zip(self.rigs, self.batches, strict=True)]
        assert counts[0] == counts[1]

    @rule(source=port_numbers, sink=port_numbers, rounds=st.integers(1, 6), arriving=st.integers(1, 63))
    def forward(self, source: int, sink: int, rounds: int, arriving: int) -> None:
        """The usual life, so that rings wrap."""
        if any(batches[0].count for batches in self.batches):
            return
        for round_ in range(rounds):
            for i in range(arriving):
                for rig in self.rigs:
                    rig.nic[source].receive(Frame((64 + i,), i * round_))
            for rig, batches in zip(self.rigs, self.batches, strict=True):
                rig.rx(source, batches[0])
                rig.tx(sink, batches[0])
                rig.nic[sink].transmit(arriving)

    @rule(port=port_numbers, n=st.integers(1, 100))
    def transmit(self, port: int, n: int) -> None:
        counts = [rig.nic[port].transmit(n) for rig in self.rigs]
        assert counts[0] == counts[1]
        assert self.rigs[0].nic[port].sent_pieces == self.rigs[1].nic[port].sent_pieces

    @rule(port=port_numbers)
    def clean(self, port: int) -> None:
        counts = [rig.engine.tx(port).clean() for rig in self.rigs]
        assert counts[0] == counts[1]

    @rule(which=st.integers(0, 1))
    def touch(self, which: int) -> None:
        for rig, batches in zip(self.rigs, self.batches, strict=True):
            rig.program("touch", batches[which])()

    @rule(which=st.integers(0, 1), every=st.integers(0, 5), shorter=st.sampled_from([None, 64, 700]))
    def drop_some(self, which: int, every: int, shorter: int | None) -> None:
        for rig, batches in zip(self.rigs, self.batches, strict=True):
            rig.engine.bind_pass_all(batches[which])()
            rig.program("drop", batches[which], every=every, shorter_than=shorter)()
            rig.engine.bind_settle(batches[which], 0)()

    @precondition(lambda self: bool(self.rigs))
    @invariant()
    def same_memory_and_every_buffer_in_one_place(self) -> None:
        one, other = self.rigs
        assert one.content() == other.content()
        for rig, batches in zip(self.rigs, self.batches, strict=True):
            rig.check(*batches)
        for a, b in zip(*self.batches, strict=True):
            assert a.count == b.count
            for cells in ("ids", "lengths", "hashes", "status"):
                assert getattr(a, cells)[: a.count] == getattr(b, cells)[: b.count]


BothEngines.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestBothEngines = BothEngines.TestCase
