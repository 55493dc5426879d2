"""Observers, which are told how a run goes: the live table, the plain lines, a test."""

from typing import Protocol

from ixyfwd.telemetry.snapshot import Report, Snapshot


class Observer(Protocol):
    """An observer, called by the supervisor between two looks at its processes; must return quickly."""

    def notice(self, text: str) -> None:
        """A fact worth one sentence, such as hugepages that were not there."""

    def started(self, status: Snapshot) -> None:
        """Frames flow from now on."""

    def tick(self, status: Snapshot) -> None:
        """New figures, about once a second."""

    def stopped(self, report: Report) -> None:
        """The final report, after everything is down."""


class Silent:
    """An observer that says nothing."""

    def notice(self, text: str) -> None:
        """See `Observer`."""

    def started(self, status: Snapshot) -> None:
        """See `Observer`."""

    def tick(self, status: Snapshot) -> None:
        """See `Observer`."""

    def stopped(self, report: Report) -> None:
        """See `Observer`."""
