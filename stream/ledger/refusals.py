"""What a refused write says, in the words of the person who reads it at night."""

from __future__ import annotations

from stream.errors import Fenced, Stale
from stream.ledger.port import Held, Place, Write


def strange_token(held: Held, theirs: str, doing: str) -> Fenced | Stale:
    """The shelf carries another token than ours: Stale when it is an older owner's or nobody's, else Fenced."""
    if theirs == "" or theirs in held.before:
        return Stale(
            f"could not {doing} of shelf {held.shelf}: the ledger has forgotten that we took it",
            f"our token is {short(held.token)}, the ledger is back at {short(theirs)}; nothing was written",
            'Redis lost its last writes or was restored from a copy; the shelf is read again. See runbook, "roll-back"',
        )
    return Fenced(
        f"could not {doing} of shelf {held.shelf}: a newer owner holds it",
        f"our token is {short(held.token)}, the ledger has {short(theirs)}; nothing was written",
        'nothing to do if a rebalance just happened; otherwise see runbook, "two owners"',
    )


def strange_place(held: Held, write: Write, which: str, found: Place, stamp: str) -> Stale:
    """The shelf is ours, but not where we left it; `which` of offset, sweep and stamp gave it away."""
    ours = f"offset {write.expected.offset}, sweep {write.expected.sweep!r}, stamp {short(held.stamp)}"
    theirs = f"offset {found.offset}, sweep {found.sweep!r}, stamp {short(stamp)}"
    return Stale(
        f"could not keep batch of shelf {held.shelf}: its {which} is not what we left",
        f"we left {ours}; the ledger has {theirs}; offset {write.next.offset} was not written",
        'Redis lost its last writes or was restored from a copy; the shelf is read again. See runbook, "roll-back"',
    )


def strange_stamp(held: Held, token: str, stamp: str) -> Fenced | Stale | None:
    """What a look finds: the shelf with another token or stamp than we left; None where it is as we left it."""
    if token != held.token:
        return strange_token(held, token, "go on with what is kept")
    if stamp == held.stamp:
        return None
    return Stale(
        f"shelf {held.shelf} is not as we left it",
        f"we left stamp {short(held.stamp)}; the ledger has {short(stamp)}",
        'Redis lost its last writes or was restored from a copy; the shelf is read again. See runbook, "roll-back"',
    )


def strange_outbox(held: Held, through: int, next_out: int) -> Stale:
    """We published a message the ledger does not know of."""
    return Stale(
        f"could not trim outbox of shelf {held.shelf}: the ledger has forgotten messages that were published",
        f"published through number {through}, the ledger's next one is {next_out}; nothing was written",
        'Redis lost its last writes or was restored from a copy; the shelf is read again. See runbook, "roll-back"',
    )


def short(token: str) -> str:
    """The first characters of a token, enough to tell two apart in a log line."""
    return token[:8] or "(none)"
