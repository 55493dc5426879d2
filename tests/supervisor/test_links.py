"""Links that are down: tried again a few times, further and further apart, and told when they come or go."""

import pytest

from ixyfwd.config.schema import PortConfig
from ixyfwd.supervisor.state import LINK_RETRIES_S, Forwarder
from tests.testing.driver_fake import AUTOC, LINKS, OPTIONS, FakeClock, FakeFunction
from tests.testing.plans import plan_of, port_of
from tests.testing.support import no_events

AN_RESTART = 1 << 12
DAY_S = 86_400


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The supervisor's time."""
    found = FakeClock()
    monkeypatch.setattr("ixyfwd.supervisor.state.time.monotonic", found.now)
    return found


def test_a_link_that_stays_down_is_tried_a_few_times_and_left_alone(clock: FakeClock) -> None:
    function = FakeFunction()
    plan = plan_of(PortConfig("a", function.address))
    port = port_of(plan.ports[0], function)
    forwarder = Forwarder(plan, [port], [], None, [], 0, no_events())
    port.driver.reset_and_init(OPTIONS)

    def tick() -> list[str]:
        status = forwarder.status()
        forwarder.retry_links(status)
        return [change.text for change in forwarder.link_changes(status)]

    def tries(seconds: int) -> list[float]:
        """When the link was set up anew, after it went down."""
        begun, found = clock.at, []
        for _ in range(seconds):
            function.log.clear()
            tick()
            found += [clock.at - begun for offset, value in function.writes() if offset == AUTOC and value & AN_RESTART]
            clock.at += 1
        return found

    assert tick() == [] and tries(100) == []
    for _ in range(2):  # and once more after it was up
        function.registers[LINKS] = 0x30000000
        assert tick() == ["port a: link down"]
        assert tries(DAY_S // 100) == list(LINK_RETRIES_S)
        function.registers[LINKS] = 0x70000080
        assert tick() == ["port a: link up"]
