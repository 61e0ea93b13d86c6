"""From settings to what each room asks for: plain values, one function a room."""

from __future__ import annotations

import os
import socket

from agents.intake.translate import IntakeConfig
from agents.network.agent import NetworkConfig
from agents.planner.config import LONG_AGO, PlannerConfig, Policy
from agents.settings import Settings
from agents.worker_name import client_id
from stream.events.kinds import Source
from stream.events.topics import BY_NAME, partitions
from stream.events.units import MILLI
from stream.ledger.leader import LeaderConfig
from stream.transport.app import Config as TransportConfig

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CLOSE_SPREAD_S = 50  # one worker takes as long for a million rows that are due at once, and all is told within a minute


def shape(settings: Settings) -> dict[int, int]:
    """Partitions of each source topic, by its number in source coordinates."""
    counts = (settings.source_partitions, settings.fact_partitions, settings.shelves)
    return {source: partitions(BY_NAME[source.topic], *counts) for source in Source}


def intake_config(settings: Settings) -> IntakeConfig:
    """What intake depends on besides the log."""
    return IntakeConfig(
        shelves=settings.shelves,
        lateness_ms=settings.lateness_ms,
        max_ahead_ms=settings.max_ahead_ms,
        max_behind_days=settings.max_behind_days,
        clock=settings.clock,
        max_record_bytes=settings.max_record_bytes,
    )


def planner_config(settings: Settings, shelf: int) -> PlannerConfig:
    """What a fold depends on besides the log."""
    warm_until_ms = settings.publish_after_ms
    return PlannerConfig(
        shelf=shelf,
        namespace=settings.namespace,
        shape=shape(settings),
        shelves=settings.shelves,
        policy=default_policy(settings),
        currency=settings.currency,
        cover_days=settings.default_cover_days,
        journal_rows=settings.journal_rows,
        journal_days=settings.journal_days,
        cart_silence_ms=settings.cart_silence_minutes * MINUTE_MS,
        carts_max=settings.carts_max,
        proposal_expiry_ms=settings.proposal_expiry_hours * HOUR_MS,
        proposal_grace_ms=settings.proposal_grace_hours * HOUR_MS,
        transfer_expiry_ms=settings.transfer_expiry_hours * HOUR_MS,
        stockout_limit=settings.stockout_chance_limit,
        overstock_days=settings.overstock_cover_days,
        hysteresis=settings.hysteresis_share,
        count_tolerance=settings.count_tolerance_share,
        positions_interval_ms=settings.positions_interval_ms,
        close_spread_ms=close_spread_ms(settings),
        forecasts=settings.forecasts,
        lead_times=settings.lead_times,
        cart_signals=settings.cart_signals,
        segments=settings.service_levels == "segments",
        warm_until_ms=LONG_AGO if warm_until_ms is None else warm_until_ms,
    )


def close_spread_ms(settings: Settings) -> int:
    """How long past its end the last SKUs close a day; by the event clock all at once, unless it is said."""
    seconds = settings.close_spread_seconds
    if seconds is None:
        seconds = CLOSE_SPREAD_S if settings.clock == "wall" else 0
    return seconds * 1000


def network_config(settings: Settings) -> NetworkConfig:
    """What the network agent depends on besides the ledger."""
    return NetworkConfig(
        namespace=settings.namespace,
        shelves=settings.shelves,
        name=worker_name(settings),
        every_minutes=settings.rebalance_minutes,
        expiry_ms=settings.transfer_expiry_hours * HOUR_MS,
    )


def refit_config(settings: Settings) -> LeaderConfig:
    """What the slow lane depends on besides the ledger."""
    return LeaderConfig(settings.namespace, settings.shelves, worker_name(settings), settings.refit_minutes)


def worker_name(settings: Settings) -> str:
    """What people call this worker."""
    return settings.instance_id or f"{socket.gethostname()}:{os.getpid()}"


def default_policy(settings: Settings) -> Policy:
    """How a SKU-location is replenished that nobody described."""
    return Policy(
        lead_days=settings.default_lead_days,
        lead_days_sd=settings.default_lead_days_sd,
        review_days=settings.default_review_days,
        service_level=settings.default_service_level,
        order_cost=settings.default_order_cost,
        holding_cost_rate_year=settings.default_holding_cost_rate_year,
        pack_milli=round(settings.default_pack_units * MILLI),
        min_order_milli=round(settings.default_min_order_units * MILLI),
    )


def transport_config(settings: Settings, end_slack: int = 0) -> TransportConfig:
    """What the transport needs to know; `end_slack` is 1 for the embedded broker, whose log end is one short."""
    return TransportConfig(
        brokers=settings.brokers,
        namespace=settings.namespace,
        shelves=settings.shelves,
        source_partitions=settings.source_partitions,
        fact_partitions=settings.fact_partitions,
        session_timeout_ms=settings.session_timeout_ms,
        instance_id=settings.instance_id,
        mark_interval_ms=settings.mark_interval_ms,
        fetch_wait_ms=settings.fetch_wait_ms,
        poll_max_records=settings.poll_max_records,
        buffer_bytes=settings.buffer_bytes,
        client_id=client_id(),
        end_slack=end_slack,
    )
