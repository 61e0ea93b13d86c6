"""Settings reach the rooms: none is lost on the way, units are turned where they differ."""

from __future__ import annotations

from dataclasses import fields

from agents import wiring
from agents.intake.translate import IntakeConfig
from agents.planner.config import PlannerConfig, Policy
from agents.settings import Settings, load
from agents.worker_name import client_id
from stream.events.kinds import Source
from stream.transport.app import Config as TransportConfig


def test_defaults_are_the_rooms_own() -> None:
    """A room's defaults and the documented ones do not drift apart."""
    settings = load()
    assert wiring.intake_config(settings) == IntakeConfig(shelves=settings.shelves)
    assert wiring.default_policy(settings) == Policy()
    planner = wiring.planner_config(settings, 3)
    shape = wiring.shape(settings)
    assert planner == PlannerConfig(shelf=3, shape=shape, shelves=settings.shelves, close_spread_ms=50_000)
    transport = TransportConfig(settings.brokers, settings.namespace, 4, 4, 1, client_id=client_id())
    assert wiring.transport_config(settings) == transport


def test_every_field_of_a_room_can_be_set() -> None:
    """What a room asks for comes from a setting, but for what is its own business."""
    changed = load(
        brokers="b:1", namespace="n", shelves=7, source_partitions=5, fact_partitions=2, clock="event", lateness_ms=1,
        max_ahead_ms=2, max_behind_days=3, max_record_bytes=2_000, mark_interval_ms=51, fetch_wait_ms=3,
        poll_max_records=9, buffer_bytes=2_000_000, positions_interval_ms=11, journal_rows=1_001, journal_days=8,
        cart_silence_minutes=13, carts_max=1_002, proposal_expiry_hours=50, proposal_grace_hours=5, currency="USD",
        forecasts="off", transfer_expiry_hours=7, lead_times="stated", cart_signals=True, service_levels="segments",
        stockout_chance_limit=0.3, overstock_cover_days=70, hysteresis_share=0.2, count_tolerance_share=0.04,
        default_lead_days=1, default_lead_days_sd=2, default_review_days=3, default_service_level=0.9,
        default_pack_units=0.5, default_min_order_units=4, default_order_cost=5, default_holding_cost_rate_year=0.5,
        default_cover_days=9, session_timeout_ms=7_000, instance_id="w", publish_after="2026-05-01T00:00:00Z",
        close_spread_seconds=21,
    )  # fmt: skip
    own = {
        "shelf",
        "slice_rows",
        "send_rows",
        "plan_days",
        "forecast_days",
        "force_slow",
        "silent",
        "policy",
        "end_slack",
        "client_id",
        "version",
        "family",
    }  # not the operator's business, or looked at below
    own |= {
        "last_buy_day",
        "unit_cost",
        "unit_price",
        "max_stock_milli",
        "status",
        "confirms",
        "category",
        "supplier",
        "review",
        "service_measure",
        "level_stated",
        "launch_day",
        "order_from",
        "Policy.cover_days",  # a planner has one too
    }  # facts only
    before, after = rooms(load()), rooms(changed)
    same = {name for name in before if before[name] == after[name]}
    assert {name for name in same if not own & {name, name.partition(".")[2]}} == set()


def rooms(settings: Settings) -> dict[str, object]:
    """Every field of every room, by room and name."""
    planner = wiring.planner_config(settings, 0)
    parts = (wiring.intake_config(settings), planner, planner.policy, wiring.transport_config(settings))
    return {
        f"{type(part).__name__}.{field.name}": getattr(part, field.name) for part in parts for field in fields(part)
    }


def test_units_are_turned_where_a_room_counts_in_others() -> None:
    """Hours and minutes become ms, units become thousandths, partitions are told by source number."""
    settings = load(default_pack_units=2.5, proposal_grace_hours=1, cart_silence_minutes=2, source_partitions=6)
    planner = wiring.planner_config(settings, 0)
    assert planner.policy.pack_milli == 2_500
    assert planner.proposal_grace_ms == 3_600_000
    assert planner.cart_silence_ms == 120_000
    assert planner.shape[Source.ORDERS] == 6
    assert planner.shape[Source.CATALOG] == 1
