"""Bits of a row's `flags`, and where in them its origin and segment stand."""

from __future__ import annotations

CLOSED_ONCE = 1
LEARNING = 2  # has had demand: days teach from here on
ORIGIN_SHIFT, ORIGIN_BITS = 2, 3  # what it began as: young.py
SEGMENT_SHIFT, SEGMENT_BITS = 4, 15  # segments.py
