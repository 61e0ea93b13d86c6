"""Where the topics are, from the settings. Apart from `wiring`, so that commands need not wait for Faust."""

from __future__ import annotations

from agents.planner import versions
from agents.settings import Settings
from stream.events.rows import switch_frame
from stream.events.topics import SKU_EVENTS
from stream.transport import topics_admin
from stream.transport.append import append
from stream.transport.topics_admin import Installation


def installation(settings: Settings) -> Installation:
    """Where these settings say the topics are."""
    return Installation(
        settings.brokers,
        settings.namespace,
        settings.source_partitions,
        settings.fact_partitions,
        settings.shelves,
        settings.replication_factor,
    )


def create_topics(settings: Settings) -> list[str]:
    """Make the topics that are not there yet; returns their names. A log that is new begins in the newest version."""
    here = installation(settings)
    made = topics_admin.create(here)
    if versions.NEWEST > versions.FIRST and here.name(SKU_EVENTS) in made:
        frame = switch_frame(versions.NEWEST)
        append(settings.brokers, settings.namespace, SKU_EVENTS.name, dict.fromkeys(range(settings.shelves), frame))
    return made
