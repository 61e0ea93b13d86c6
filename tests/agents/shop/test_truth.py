"""What the world says of itself is so: realised demand against the stated law, carts against their lead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.shop.config import HOUR_MS, Config
from agents.shop.demand import Demand
from agents.shop.items import items
from agents.shop.places import places
from agents.shop.plan import Plan
from agents.shop.world import World

BASE = Config(seed=4, rows=320, locations=4, customers_day=3, restocking="own", opening_days=60)


def demand_of(config: Config) -> Demand:
    """The demand of a world, without its stock."""
    its, there = items(config), places(config.locations)
    return Demand.of(config, there, its, Plan(config, its, there))


def drawn(demand: Demand, location: int, days: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units wanted, their stated mean and variance; each (days, SKUs of the location)."""
    wanted, mean, variance = [], [], []
    for day in days:
        law, n = demand.law(location, day), len(demand.base[location])
        customers, wholesale = demand.customers(location, day), demand.wholesale(location, day)
        pays = customers.basket >= 0
        units = np.bincount(customers.sku[pays], customers.units[pays], minlength=n)
        units += np.bincount(wholesale.sku[wholesale.stands], wholesale.units[wholesale.stands], minlength=n)
        wanted.append(units)
        mean.append(law.mean_units)
        variance.append(law.variance_units)
    return np.array(wanted), np.array(mean), np.array(variance)


@pytest.mark.parametrize("wholesale_share", [0.0, 0.01])
def test_demand_has_the_mean_and_variance_it_states(wholesale_share: float) -> None:
    """Per row over 500 days standardised sums have mean 0 and variance 1; squared errors are the stated variance."""
    config = replace(BASE, wholesale_share=wholesale_share)
    demand = demand_of(config)
    days = range(config.start_day, config.start_day + 500)
    parts = [drawn(demand, location, days) for location in range(4)]
    wanted, mean, variance = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    assert (wanted[mean == 0] == 0).all()
    sums = (wanted - mean).sum(axis=0) / np.sqrt(variance.sum(axis=0))
    assert abs(sums.mean()) < 0.35  # 320 rows, of which those of a place share its weather: sd about 0.1
    assert 0.75 < sums.var() < 1.3  # sd of a variance of 320: 0.08
    seen = mean > 0.05
    assert ((wanted - mean)[seen] ** 2 / variance[seen]).mean() == pytest.approx(1.0, abs=0.12)
    assert wanted.sum() / mean.sum() == pytest.approx(1.0, abs=0.015)  # 150,000 units, weather averages over days


def test_the_realised_day_is_the_drawn_day_whatever_the_stock() -> None:
    """An empty shop, a full one and one with leading carts meet the very same customers."""
    worlds = [
        World(replace(BASE, opening_days=days, restocking="none", cart_lead_hours=lead))
        for days, lead in ((0, 0), (300, 0), (300, 30))
    ]
    for _ in range(4):
        empty, full, leading = (world.day() for world in worlds)
        assert (empty.wanted_units == full.wanted_units).all()
        assert (leading.wanted_units == full.wanted_units).all()
        assert (leading.cart_added_units != full.cart_added_units).any()
    assert empty.lost_units.sum() > 0.5 * empty.wanted_units.sum()
    assert full.lost_units.sum() == 0


def test_stock_outs_hide_demand() -> None:
    """Where exposure is whole nothing is lost at tills; where something is lost, exposure is not whole."""
    world = World(replace(BASE, opening_days=4, restocking="none"))
    tills = np.array([not place.web for place in world.places]).repeat(world.config.skus)
    lost_and_exposed = []
    for _ in range(12):
        day = world.day()
        seen = tills & ~day.closed
        lost_and_exposed.append((day.lost_units[seen], day.exposure_share[seen]))
    lost, exposure = (np.concatenate(columns) for columns in zip(*lost_and_exposed, strict=True))
    assert lost[exposure == 0].sum() > 0.5 * lost.sum()
    assert lost[exposure > 0.999].sum() <= 0.03 * lost.sum()  # the last quarter of an hour may run dry
    assert exposure.min() >= 0
    assert exposure.max() <= 1


def test_thieves_and_counts() -> None:
    """Theft comes at its share of what is wanted; counts find all of it in the end."""
    world = World(replace(BASE, shrinkage_share=0.05, count_days=5, opening_days=200, restocking="none", zipf=0.3))
    days = [world.day() for _ in range(30)]
    stolen, corrected = (sum(int(getattr(d, name).sum()) for d in days) for name in ("stolen_units", "corrected_units"))
    mean = sum(float(d.mean_units.sum()) for d in days)
    assert stolen / mean == pytest.approx(0.05, rel=0.08)
    assert corrected == pytest.approx(-stolen, rel=0.15)  # what was stolen since the last counts is still to be found


def test_promotions_announced_are_promotions_had() -> None:
    """What `calendar` said 14 days before is what the truth has on the day, and it sells more."""
    world = World(replace(BASE, promotion_share=0.1, customers_day=8, restocking="none", opening_days=300))
    said = world.tell(world.now_ms + 22 * 24 * HOUR_MS)
    entries = [one for one in said if one.event["type"] == "calendar.promotion" and "sku" in one.event]
    begin = entries[-1].event["first_day"]
    assert len(entries) > 10
    days = {(d.day, d.first_row): d for d in world.truth()}
    promoted = np.concatenate([d.promotion for d in days.values()])
    lift = np.concatenate([d.wanted_units for d in days.values()])
    usual = np.concatenate([d.mean_units for d in days.values()])
    assert begin > "2026-01-20"
    assert promoted.any()
    assert lift[promoted].sum() / usual[promoted].sum() == pytest.approx(1.0, abs=0.1)


def lead_correlation(lead_hours: float) -> tuple[float, float]:
    """Correlation over web rows and days of adds with the next day's and the same day's surprise in demand."""
    config = replace(BASE, rows=80, locations=2, zipf=0.4, customers_day=4, cart_lead_hours=lead_hours,
                     opening_days=900, restocking="none", promotion_share=0, wholesale_share=0)  # fmt: skip
    world = World(config)
    days = [world.day() for _ in range(32)]
    web = slice(config.skus, 2 * config.skus)
    added = np.array([d.cart_added_units[web] for d in days], np.float64)
    surprise = np.array([(d.wanted_units - d.mean_units)[web] / np.sqrt(d.variance_units[web] + 1e-9) for d in days])
    others = added - added.mean(axis=0)
    others /= others.std(axis=0) + 1e-9
    next_day = float((others[5:-1] * surprise[6:]).mean())
    return next_day, float((others[5:] * surprise[5:]).mean())


def test_carts_lead_orders_by_as_much_as_they_are_told_to() -> None:
    """Led by 24 hours, today's adds know tomorrow's surprise; led by nothing, they know only today's."""
    assert lead_correlation(24)[0] > 0.4
    next_day, same_day = lead_correlation(0)
    assert abs(next_day) < 0.12  # 1,040 pairs: sd 0.03
    assert same_day > 0.2


@pytest.mark.parametrize("lead_hours", [0.0, 12.0])
def test_every_cart_that_is_ordered_was_filled_before(lead_hours: float) -> None:
    """An order that names a cart comes after what was put into it, by the stated lead in the mean."""
    world = World(replace(BASE, rows=60, locations=2, cart_lead_hours=lead_hours))
    said = world.tell(world.now_ms + 6 * 24 * HOUR_MS)
    begin_ms = said[0].at_ms
    added: dict[str, int] = {}
    for one in said:
        if one.event["type"] == "cart.item_added":
            added.setdefault(one.event["cart_id"], one.at_ms)
    led = [(one.at_ms - added[one.event["cart_id"]]) / HOUR_MS for one in said
           if one.event.get("channel") == "web" and one.at_ms > begin_ms + 60 * HOUR_MS]  # fmt: skip
    assert len(led) > 200
    assert min(led) > 0
    assert np.mean(led) == pytest.approx(max(lead_hours, 1 / 60), rel=0.1 if lead_hours else 0.3)


def test_days_are_local() -> None:
    """Each location's day has its own length and hours; nobody buys at a till at night."""
    world = World(replace(BASE, rows=200))
    said = world.tell(world.now_ms + 4 * 24 * HOUR_MS)
    hours = {name: set() for name in ("berlin", "tokyo", "new-york")}
    shift = {"berlin": 1, "tokyo": 9, "new-york": -5}
    for one in said:
        if one.event.get("channel") == "till":
            name = one.event["lines"][0]["location"]
            hours[name].add((one.at_ms // HOUR_MS + shift[name]) % 24)
    assert all(min(its) == 8 and max(its) == 19 for its in hours.values())
