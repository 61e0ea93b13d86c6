"""What can go wrong, drawn once.

What the world does wrong is data (quarantined, never raised); what a neighbour does wrong is a `NeighbourError`
(retry or give way); what the operator set wrong is a `SetupError`; what *we* do wrong is an AssertionError: stop.

    RestockError
     +- SetupError                  a setting, topic or argument is wrong: fix it and start again
     |   +- PartitionsChanged       a topic has another number of partitions than the ledger was begun with
     |   +- RecordsGone             the ledger's offset is no longer in the log
     +- NeighbourError              broker or Redis
         +- Away                    it does not answer: retry within a bound
         +- Fenced                  a newer owner holds the shelf: give way
         +- Stale                   the ledger is not where we left it (rolled back): reload
"""

from __future__ import annotations


class RestockError(Exception):
    """An error that says what happened, the detail, and what to do next."""

    exit_code = 1

    def __init__(self, what: str, detail: str = "", hint: str = "") -> None:
        self.what, self.detail, self.hint = what, detail, hint
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.detail:
            lines.append(f"  detail: {self.detail}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class SetupError(RestockError):
    """A setting, topic, file or argument is wrong; starting again without a change fails again."""

    exit_code = 2


class PartitionsChanged(SetupError):
    """A topic's number of partitions differs from the one the ledger was begun with."""


class RecordsGone(SetupError):
    """The ledger's offset is no longer in the log: records were deleted before we read them."""


class NeighbourError(RestockError):
    """Broker or Redis did something we must answer."""


class Away(NeighbourError):
    """A neighbour does not answer within the bound."""


class Fenced(NeighbourError):
    """A newer owner holds what we are writing to; nothing was written."""


class Stale(NeighbourError):
    """The ledger is not where we left it (rolled back or restored); nothing was written."""
