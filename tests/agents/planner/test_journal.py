"""The journal: repeats within its window, placed days, and what moved after an instant."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.planner.hashes import HashIndex
from agents.planner.journal import ENTRY, NO_DAY, Journal

SPREAD = np.arange(31, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # half of them with the highest bit

moves = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50), st.integers(-9, 9)), max_size=12)


def entries(rows: list[tuple[int, int, int]], first_hash: int) -> np.ndarray:
    """Movements (row, occurred_ms, delta) as journal entries."""
    out = np.zeros(len(rows), ENTRY)
    for i, (row, at, delta) in enumerate(rows):
        out[i] = (first_hash + i, first_hash + i, row, 0, NO_DAY, delta, at)
    return out


@given(st.lists(moves, max_size=6), st.lists(st.tuples(st.integers(0, 6), st.integers(-1, 51)), max_size=8))
def test_many_counts_in_one_walk_are_the_single_answers(
    records: list[list[tuple[int, int, int]]], asked: list[tuple[int, int]]
) -> None:
    """`moved_after_each` is `moved_after` for each."""
    journal = Journal(1_000, 35)
    for offset, record in enumerate(records):
        journal.append(offset, entries(record, 1 + offset * 100), 0)
    rows, instants = (np.array([pair[k] for pair in asked], np.int64) for k in (0, 1))
    assert journal.moved_after_each(rows, instants).tolist() == [journal.moved_after(r, t) for r, t in asked]


@given(st.lists(st.lists(st.integers(1, 30), max_size=8), max_size=20), st.integers(1, 20))
def test_an_event_is_known_for_at_least_the_set_number_of_newer_ones(records: list[list[int]], most: int) -> None:
    """Whatever the sizes of records, the last `rows_max` events are known, and what was dropped is not."""
    journal = Journal(most, 35)
    told: list[int] = []
    for offset, hashes in enumerate(records):
        batch = entries([(0, 0, 1)] * len(hashes), 0)
        batch["event_hash"] = batch["order_hash"] = SPREAD[hashes]
        journal.append(offset, batch, 0)
        told += hashes
    recent = SPREAD[told[-most:]]
    assert (journal.events.find(recent) >= 0).all()
    kept = {int(h) for chunk in journal.chunks for h in chunk.entries["event_hash"]}
    found = journal.events.find(SPREAD[1:]) >= 0
    assert found.tolist() == [h in kept for h in SPREAD[1:].tolist()]
    assert len(journal.events) == len(kept) == np.count_nonzero(journal.events.table[:, 1])
    assert [journal.placed(h) is not None for h in SPREAD[1:].tolist()] == found.tolist()


@given(st.lists(st.tuples(st.lists(st.integers(0, 99), max_size=9), st.integers(0, 20)), max_size=30))
def test_an_index_of_hashes_is_a_dictionary(batches: list[tuple[list[int], int]]) -> None:
    """The last number added under a hash is found until that one is removed, -1 where there is none."""
    index, truth, told = HashIndex(), dict[int, int](), list[int]()
    for batch, forgotten in batches:
        numbers = np.arange(len(told), len(told) + len(batch))
        index.add(spread(batch), numbers)
        truth.update(zip(batch, numbers.tolist(), strict=True))
        told += batch
        index.remove(spread(told[:forgotten]), np.arange(len(told[:forgotten])))
        truth = {hash: number for hash, number in truth.items() if number >= forgotten}
        assert index.find(spread(range(100))).tolist() == [truth.get(h, -1) for h in range(100)]
        assert len(index) == len(truth)


def spread(numbers: Iterable[int]) -> np.ndarray:
    """Hashes of which many want the same place, also the last ones of the table."""
    return np.array([n // 10 * 4096 * 7 + 4090 + n % 3 + (n << 40) for n in numbers], np.uint64)


def test_an_index_of_hashes_grows() -> None:
    """With more hashes than it was made for, none is lost."""
    index, hashes = HashIndex(), np.random.default_rng(3).integers(0, 2**63, 20_000, np.uint64)
    for first in range(0, len(hashes), 999):
        index.add(hashes[first : first + 999], np.arange(first, min(first + 999, len(hashes))))
    assert index.find(hashes).tolist() == list(range(20_000))
