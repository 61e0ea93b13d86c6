"""Where the ledger stands must lie within the log: outside it, Kafka would quietly start somewhere else."""

from __future__ import annotations

from faust.types import TP

from stream.errors import RecordsGone

GONE_HINT = (
    "either accept the loss (`restock ledger accept-loss`), or begin anew from what the log holds (`restock ledger "
    "rebuild`). "
    "Then give the topic a longer retention; see runbook, 'records gone'"
)


def check_in_log(tp: TP, at: int, begin: int, end: int) -> None:
    """Raise RecordsGone where an offset lies outside the log, with how many records that are."""
    if at < begin:
        raise RecordsGone(
            f"{begin - at:,} records of {tp.topic} partition {tp.partition} were deleted before they were read",
            f"the ledger's offset is {at:,}, the log begins at {begin:,}"
            + ("" if at else ": nothing was kept of it, or the ledger was lost"),
            GONE_HINT,
        )
    if at > end:
        raise RecordsGone(
            f"the ledger is {at - end:,} records ahead of {tp.topic} partition {tp.partition}",
            f"the ledger's offset is {at:,}, the log ends at {end:,}: the topic was created anew or lost its tail",
            "this ledger belongs to another log: use a new namespace, or restore the topic; " + GONE_HINT,
        )
