"""What is injected into one port at the moment: begins, ends, counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from ixyfwd.errors import UsageError
from ixyfwd.model.inject.begun import Begun
from ixyfwd.model.inject.kinds import OF_CARD, QUEUES, Kind, Value, find_kind, read_parameters

if TYPE_CHECKING:
    from ixyfwd.model.chip.link import Link
    from ixyfwd.model.chip.nvm_access import NvmAccess
    from ixyfwd.model.datapath.binding import DatapathPort
    from ixyfwd.model.inject.card import Card

WORD = 2**64 - 1
ALL = 2**QUEUES - 1
DD_FIELDS = {"stuck-dd": "stuck", "late-write-back": "delay", "lost-doorbell": "doorbell"}


class Injected(TypedDict):
    """One injection, also after its end. `count`: how often it acted, in the kind's own unit (inject/kinds.py)."""

    active: bool
    parameters: dict[str, Value]
    count: int


class Presence(Protocol):
    """A port that can leave the bus, and hang in a reset."""

    def leave(self) -> None:
        """Leave the bus: all reads are all ones from now on."""

    def come_back(self) -> None:
        """Make the device present again, as after a reset."""

    def hang_in_reset(self, on: bool) -> None:
        """Whether the next reset never ends; one that hangs ends with it."""

    @property
    def hung_resets(self) -> int:
        """How many resets did not end by themselves."""


@dataclass
class _Running:
    parameters: dict[str, Value]
    count: Callable[[], int]
    end: Callable[[], None]
    until_ns: int | None
    exhausted: Callable[[], bool] = lambda: False
    active: bool = True
    last_count: int = 0


class Injector:
    """The injections into one port.

    Kinds are independent of each other; one that is begun again is taken back first.
    """

    def __init__(
        self,
        datapath: "DatapathPort",
        link: "Link",
        nvm: "NvmAccess",
        presence: Presence,
        clock_ns: Callable[[], int],
        *,
        card: "Card",
    ) -> None:
        self._datapath = datapath
        self._link = link
        self._nvm = nvm
        self._presence = presence
        self._clock_ns = clock_ns
        self._card = card
        self._running: dict[str, _Running] = {}

    def begin(self, name: str, given: Mapping[str, object]) -> None:
        """Begin to inject a kind with parameters. Raises UsageError for a wrong one; then nothing has changed."""
        kind = find_kind(name)
        parameters = read_parameters(kind, given)
        self._end(name)
        begun = self._begin(kind, parameters)
        seconds = parameters["seconds"]
        until_ns = None if seconds is None else self._clock_ns() + int(float(seconds) * 1e9)
        self._running[name] = _Running(parameters, begun.count, begun.end, until_ns, begun.exhausted)

    def end(self, name: str) -> None:
        """End one injection. Raises UsageError if it is not active."""
        find_kind(name)
        if name not in self._running or not self._running[name].active:
            active = [other for other, found in self._running.items() if found.active]
            raise UsageError(f"{name} is not injected; active: {', '.join(active) or 'nothing'}")
        self._end(name)

    def clear(self) -> None:
        """End all injections and forget the counts."""
        for name in self._running:
            self._end(name)
        self._running.clear()

    def tick(self) -> None:
        """End what has lasted long enough."""
        for name, running in self._running.items():
            if running.active and (
                running.exhausted() or (running.until_ns is not None and self._clock_ns() >= running.until_ns)
            ):
                self._end(name)

    def report(self) -> dict[str, Injected]:
        """What is or was injected, by the name of its kind."""
        return {
            name: {
                "active": running.active,
                "parameters": {key: value for key, value in running.parameters.items() if value is not None},
                "count": running.count() if running.active else running.last_count,
            }
            for name, running in self._running.items()
        }

    def _end(self, name: str) -> None:
        running = self._running.get(name)
        if running is not None and running.active:
            running.last_count = running.count()
            running.active = False
            running.end()

    # What each kind does

    def _begin(self, kind: Kind, parameters: Mapping[str, Any]) -> Begun:
        if kind in OF_CARD:
            return self._card.begin(kind.name, parameters)
        match kind.name:
            case "link-down" | "link-flap" | "slow-link":
                return self._begin_link(kind.name, parameters)
            case "rx-stall" | "tx-stall":
                field = f"stall_{kind.name[:2]}"
                self._set_queues([field], parameters["queue"])
                return Begun(lambda: 1, lambda: self._store_queues([field], 0))
            case "corrupt":
                return self._begin_corrupt(parameters)
            case "device-gone" | "reset-hang" | "smbi-held" | "eeprom-checksum":
                return self._begin_device(kind.name)
            case _:
                return self._begin_queues(kind.name, parameters)

    def _begin_device(self, name: str) -> Begun:
        nvm = self._nvm
        if name == "device-gone":
            self._presence.leave()
            return Begun(lambda: 1, self._presence.come_back)
        if name == "eeprom-checksum":
            nvm.break_checksum()
            return Begun(lambda: 1, nvm.restore_checksum)
        if name == "reset-hang":
            hung = self._presence.hung_resets
            self._presence.hang_in_reset(True)
            return Begun(lambda: self._presence.hung_resets - hung, lambda: self._presence.hang_in_reset(False))
        before = nvm.turned_away
        nvm.smbi_held = True
        return Begun(lambda: nvm.turned_away - before, self._release_smbi)

    def _release_smbi(self) -> None:
        self._nvm.smbi_held = False

    def _begin_link(self, name: str, parameters: Mapping[str, Any]) -> Begun:
        link = self._link
        if name == "slow-link":
            before = link.ups
            link.extra_delay_ns = parameters["delay-ms"] * 1_000_000
            return Begun(lambda: link.ups - before, link.clear_delay)
        if name == "link-down":
            link.hold_down(True)
            return Begun(lambda: 1, lambda: link.hold_down(False))
        link.flap(parameters["period-ms"] * 1_000_000, parameters["count"])
        return Begun(lambda: link.flaps, link.end_flap, lambda: not link.flapping)

    def _begin_queues(self, name: str, parameters: Mapping[str, Any]) -> Begun:
        state = self._datapath.injected
        counter = "doorbells_lost" if name == "lost-doorbell" else "held"
        if name == "lost-doorbell":
            state.doorbell_every = parameters["every"]
        elif name == "late-write-back":
            state.delay_ns = parameters["us"] * 1000
        elif name == "reorder":
            state.reorder_ns = parameters["us"] * 1000
            state.reorder_frames = parameters["descriptors"]
        before = int(getattr(state, counter))
        if name == "reorder":
            fields = ["reorder_rx"]
        else:
            directions = ("rx", "tx") if parameters["direction"] == "both" else (parameters["direction"],)
            fields = [f"{DD_FIELDS[name]}_{direction}" for direction in directions]
        self._set_queues(fields, parameters["queue"])
        return Begun(lambda: int(getattr(state, counter)) - before, lambda: self._store_queues(fields, 0))

    def _set_queues(self, fields: Sequence[str], queue: int | None) -> None:
        self._store_queues(fields, ALL if queue is None else 1 << queue)

    def _store_queues(self, fields: Sequence[str], bits: int) -> None:
        for field in fields:
            words = getattr(self._datapath.injected, field)
            words[0], words[1] = bits & WORD, bits >> 64
        self._datapath.inject_changed()

    def _begin_corrupt(self, parameters: Mapping[str, Any]) -> Begun:
        state = self._datapath.injected
        chosen = {"rx": (state.damage_rx,), "tx": (state.damage_tx,), "both": (state.damage_rx, state.damage_tx)}
        damages = chosen[parameters["direction"]]
        probability = parameters["probability"]
        for damage in damages:
            damage.every, damage.offset, damage.bits = parameters["every"], parameters["offset"], parameters["bits"]
            damage.left = WORD if parameters["count"] is None else parameters["count"]
            damage.chance = 0 if probability is None else max(1, min(2**32 - 1, int(probability * 2**32)))
            damage.random, damage.seen, damage.count, damage.on = parameters["seed"], 0, 0, True
        self._datapath.inject_changed()

        def end() -> None:
            for damage in damages:
                damage.on = False
            self._datapath.inject_changed()

        return Begun(
            lambda: sum(int(damage.count) for damage in damages),
            end,
            lambda: not any(damage.left for damage in damages),
        )
