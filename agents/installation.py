"""Where the topics are, from the settings. Apart from `wiring`, so that commands need not wait for Faust."""

from __future__ import annotations

from agents.settings import Settings
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
