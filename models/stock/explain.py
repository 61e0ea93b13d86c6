"""The sentence a planner reads when asking "why did it order forty?"."""

from __future__ import annotations


def why_ordered(
    *,
    position: float,
    reorder_point: float,
    mean_over_wait: float,
    wait_days: int,
    service_level: float,
    cycles: int,
    quantity: float,
    order_up_to: float,
    pack: float = 0.0,
    minimum: float = 0.0,
    maximum: float = 0.0,
) -> str:
    """One sentence with the numbers of one order, in units; `cycles` are the horizons the spread was learnt from.

    >>> why_ordered(position=12, reorder_point=31, mean_over_wait=22, wait_days=9, service_level=0.95, cycles=41,
    ...     quantity=48, order_up_to=60, pack=12)
    'position 12 is under reorder point 31 = 22 expected over 9 days + 9 for 95 % service, learnt from 41 cycles; \
ordering 48 to reach 60, in packs of 12'
    """
    safety = max(reorder_point - mean_over_wait, 0.0)
    limits = [f"in packs of {_units(pack)}"] if pack > 1 else []
    limits += [f"at least {_units(minimum)}"] if minimum > 0 else []
    limits += [f"holding no more than {_units(maximum)}"] if maximum > 0 else []
    where = "is at" if position == reorder_point else "is under"
    learnt = f"learnt from {cycles} cycle{'' if cycles == 1 else 's'}" if cycles > 0 else "not learnt yet"
    return (
        f"position {_units(position)} {where} reorder point {_units(reorder_point)} = {_units(mean_over_wait)} "
        f"expected over {wait_days} day{'' if wait_days == 1 else 's'} + {_units(safety)} for "
        f"{100 * service_level:g} % service, {learnt}; "
        f"ordering {_units(quantity)} to reach {_units(order_up_to)}" + "".join(f", {x}" for x in limits)
    )


def _units(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
