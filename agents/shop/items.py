"""The catalogue: what each SKU is, drawn once from the seed. Columns are (skus,), most popular first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.shop.config import Config
from agents.shop.draws import Floats, For, Ints, generator

CATEGORIES = ("coffee", "tea", "pantry", "sweets", "tableware", "kitchen", "gifts", "garden")
_SEASON = (0.15, 0.3, 0.05, 0.25, 0.1, 0.1, 0.5, 0.6)  # amplitude of the year
_PEAK_DAY = (10, 0, 0, 345, 330, 330, 345, 150)  # of the year, in the north
_KNOWN = (
    ("dark-chocolate-70", 3, 2.60, 20), ("oat-drink-1l", 2, 2.10, 12), ("milk-chocolate", 3, 2.30, 20),
    ("filter-coffee-500g", 0, 8.40, 12), ("butter-biscuits", 3, 3.20, 16), ("espresso-beans-1kg", 0, 18.90, 6),
    ("paper-filters-100", 5, 2.80, 20), ("cane-sugar-1kg", 2, 2.90, 10), ("hazelnut-spread", 2, 4.90, 12),
    ("earl-grey-100g", 1, 5.80, 10), ("green-tea-100g", 1, 6.20, 10), ("honey-500g", 2, 7.50, 6),
    ("rooibos-100g", 1, 5.40, 10), ("cup-white", 4, 7.90, 6), ("cup-blue", 4, 8.90, 6), ("tea-strainer", 5, 4.50, 10),
    ("gift-box-tea", 6, 16.50, 4), ("gift-box-coffee", 6, 21.50, 4), ("travel-mug", 4, 17.90, 6),
    ("milk-frother", 5, 19.90, 4), ("french-press", 5, 29.90, 2), ("teapot-1l", 4, 24.90, 2),
    ("kettle-steel", 5, 39.00, 1), ("coffee-grinder", 5, 54.00, 1),
)  # name, category, price, pack  # fmt: skip
SUPPLIERS = 12
_HALF_YEAR = 180
NEVER_DAY = 1 << 30


@dataclass(frozen=True)
class Items:
    """What is known of each SKU."""

    names: list[str]
    category: Ints
    price: Floats  # money, at the start
    pack: Ints
    supplier: Ints
    popularity: Floats  # sums to 1
    amplitude: Floats
    peak_day: Floats
    weekend: Floats  # factor on Saturday and Sunday
    growth_year: Floats
    elasticity: Floats
    launch_day: Ints  # -NEVER_DAY: always there
    ending_day: Ints  # NEVER_DAY: never
    like: Ints  # the SKU a new one is like


@dataclass(frozen=True)
class Suppliers:
    """What is known of each supplier."""

    names: list[str]
    lead_days: Floats
    lead_days_sd: Floats


def suppliers(seed: int) -> Suppliers:
    """A dozen of them, near and far."""
    rng = generator(seed, For.PLACES, 1)
    lead = np.sort(rng.choice([1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 14.0], SUPPLIERS))
    return Suppliers([f"supplier-{n + 1:02d}" for n in range(SUPPLIERS)], lead, np.round(lead * 0.25, 2))


def items(config: Config) -> Items:
    """The catalogue of a world."""
    rng, n = generator(config.seed, For.ITEMS), config.skus
    category = rng.integers(0, len(CATEGORIES), n)
    price: Floats = np.asarray(np.round(np.exp(rng.normal(2.2, 0.8, n)), 2) + 0.5)
    pack = rng.choice([1, 2, 4, 6, 10, 12, 20], n)
    names = [f"sku-{i:07d}" for i in range(n)]
    for i, (name, its_category, its_price, its_pack) in enumerate(_KNOWN[:n]):
        names[i], category[i], price[i], pack[i] = name, its_category, its_price, its_pack
    popularity = np.arange(1, n + 1, dtype=np.float64) ** -config.zipf
    fate = rng.random(n)
    days = config.start_day + rng.integers(0, _HALF_YEAR, n)
    new = fate < config.new_share
    ending = fate > 1 - config.ending_share
    return Items(
        names=names,
        category=category,
        price=price,
        pack=pack,
        supplier=rng.integers(0, SUPPLIERS, n),
        popularity=popularity / popularity.sum(),
        amplitude=np.array(_SEASON)[category] * rng.uniform(0.7, 1.3, n),
        peak_day=np.array(_PEAK_DAY, np.float64)[category] + rng.normal(0, 10, n),
        weekend=rng.uniform(0.8, 1.25, n),
        growth_year=np.clip(rng.normal(0, 0.2, n), -0.5, 0.5),
        elasticity=rng.uniform(1, 3, n),
        launch_day=np.where(new, days + 20, -NEVER_DAY),
        ending_day=np.where(ending, days, NEVER_DAY),
        like=(np.arange(n) + 1) % n,
    )
