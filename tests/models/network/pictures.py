"""Small and random pictures for the tests of this room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models.network import strata
from models.network.transfer import Goods, Lanes, Picture


def certain(demand: np.ndarray, **given: Any) -> Picture:
    """Demand (k, l) known for certain over 7 days, margin 10, no holding cost; everything else by name.

    `lanes` are (origin, destination, unit cost) triples.
    """
    demand = np.asarray(demand, float)
    zero = np.zeros_like(demand)
    triples = np.array(given.pop("lanes"), float)
    plain = Lanes.plain(
        triples[:, 0].astype(int), triples[:, 1].astype(int), triples[:, 2], **given.pop("lane_limits", {})
    )
    goods = given.pop("goods", Goods(*(np.ones(len(demand)) for _ in range(3))))
    known = strata.Strata(np.ones((1, len(demand))), demand[None])
    blank = Picture(plain, goods, known, zero, zero, zero, zero, zero + 7, zero + 10, zero)
    return replace(blank, **{k: np.asarray(v, float) if k != "budget" else v for k, v in given.items()})


def random_picture(skus: int, places: int, seed: int, limited: bool = False, **given: Any) -> Picture:
    """Stock and uncertain demand over two weeks, four lanes a place; lanes limited in units and weight if asked."""
    rng = np.random.default_rng(seed)
    near = min(4, places - 1)
    origin = np.repeat(np.arange(places), near)
    destination = (origin + np.tile(np.arange(1, near + 1), places)) % places
    mean = rng.gamma(1.0, 8.0, (skus, 1)) * rng.gamma(2.0, 0.5, (skus, places))
    levels = np.array([0.5, 0.8, 0.9, 0.99])
    quantiles = np.floor(mean[None] * np.array([0.9, 1.5, 1.9, 3.0])[:, None, None])
    count = len(origin)
    limits = {"lead_days": rng.integers(1, 5, count).astype(float)}
    if limited:
        limits["capacity_units"] = rng.integers(0, 3 * skus, count).astype(float)
        limits["capacity_weight"] = rng.integers(1, 6 * skus, count).astype(float)
    margin = rng.uniform(1, 20, (skus, 1)) * np.ones((1, places))
    zero = np.zeros((skus, places))
    return Picture(
        Lanes.plain(origin, destination, rng.uniform(0.1, 3.0, count), **limits),
        Goods(given.pop("pack", np.ones(skus)), rng.uniform(0.5, 4, skus), rng.uniform(0.01, 0.1, skus)),
        strata.from_quantiles(mean, levels, quantiles),
        np.floor(mean * rng.gamma(1.0, 1.2, (skus, places))),
        zero,
        given.pop("minimum", zero),
        given.pop("frozen", zero),
        zero + 14,
        margin * 1.02,
        margin * 0.02,
        **given,
    )
