"""The slow lane's work as functions: whom it fits, within which budget, and that the fold takes over what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from agents.planner.fold import fold
from agents.planner.shelf import Shelf
from agents.refit import choose, fit, record, spend
from agents.refit.fit import Fitted, Task
from models.demand.places import LEVELS
from models.demand.rowwise.watch import moved
from stream.events.rows import decode
from tests.agents.refit.shops import DAYS, shop

PRICES = {"dear": 90.0, "fair": 9.0, "cheap": 0.9}


class Meter:
    """A budget that is spent a second a fit, and fits that cost nothing."""

    def __init__(self) -> None:
        self.spent, self.tasks = 0.0, list[Task]()

    def __call__(self) -> float:
        return self.spent

    def fitting(self, tasks: Iterable[Task], enough: Callable[[], bool]) -> Iterator[tuple[int, Fitted]]:
        for i, task in enumerate(tasks):
            if enough():
                return
            self.spent += 1.0
            self.tasks.append(task)
            mean = task.horizons[:, None] * np.nanmean(task.units)
            yield i, Fitted("mean", fit.bounded(mean * (0.5 + LEVELS), task.horizons, task.most))


def told(shelf: Shelf, answer: record.Answer, number: int = 1) -> None:
    """Fold what an answer says."""
    run = record.made(answer, number, 0, "", "restock", 1)
    for _, records in record.told(run, 0, 1):
        for _, frame in records:
            fold(shelf, [decode(frame, shelf.offset)])


@pytest.fixture(scope="module")
def three() -> Shelf:
    return shop(PRICES)


def test_the_most_money_comes_first_and_the_budget_ends_it() -> None:
    """Two fits of a second each: the dear and the fair one are told, the cheap one waits; next night it comes first."""
    shelf, meter = shop(PRICES), Meter()
    answer = spend.answer([shelf], 2.0, meter, meter.fitting)
    assert answer.summary["rows"]["refit"] == meter.spent == 2
    assert answer.summary["could_be_fitted"] == 3
    told(shelf, answer)
    assert shelf.counters["guests_adopted:refit"] == 2
    assert [one.shelf.names[one.row][0] for one in choose.chosen([shelf])] == ["cheap"], "others were fitted today"


def test_a_level_that_moved_comes_before_one_that_did_not() -> None:
    """Its money counts three times; a steady one's does not."""
    shelf = shop({"steady": 20.0, "moving": 5.0}, doubled=("moving",), level=9.0)
    first, second = choose.chosen([shelf])
    assert (shelf.names[first.row][0], first.moved, second.moved) == ("moving", True, False)


def test_a_moved_level_is_seen_and_a_weekly_pattern_is_none() -> None:
    """Of 60 steady rows few ring, of halved ones nearly all; too short and constant rows never."""
    rng, week = np.random.default_rng(2), np.tile([1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 0.6], 6)
    steady = sum(moved(rng.poisson(6.0 * week).astype(float)) for _ in range(60))
    halved = sum(moved(rng.poisson(8.0 * week * np.where(np.arange(42) < 24, 1, 0.4)).astype(float)) for _ in range(60))
    assert steady <= 6
    assert halved >= 54
    assert not moved(np.full(42, 3.0))
    assert not moved(np.arange(9.0))


def test_days_that_did_not_teach_are_missing_not_zero(three: Shelf) -> None:
    """The kept days, oldest first, as they sold; a day without the bit is NaN."""
    row = three.index["dear", "L"]
    days = choose.known_days(three, np.array([row]))[0]
    assert np.isfinite(days).all()
    shelf = shop(PRICES)
    shelf.hot["taught"][row] &= ~0b101
    again = choose.known_days(shelf, np.array([row]))[0]
    assert np.flatnonzero(np.isnan(again)).tolist() == [39, 41]
    assert np.array_equal(again[:39], days[:39])
    yesterday = int(shelf.hot["day"][row] - 1)
    assert days[-1] == three.history[row, yesterday % len(days)] / 1000


def test_rows_that_taught_too_few_days_are_not_asked() -> None:
    """Three weeks are no history for a fit."""
    shelf, meter = shop(PRICES, days=22), Meter()
    answer = spend.answer([shelf], 9.0, meter, meter.fitting)
    assert answer.summary["status"] == "nothing to fit"
    assert answer.lots == []


def test_a_real_fit_is_told_and_taken_over(three: Shelf) -> None:
    """ARIMA and exponential smoothing of four a day: the median is near four times the days, and it is heard."""
    one = choose.chosen([three])[0]
    task = fit.task_of(one)
    fitted = fit.fit(task)
    assert "ETS" in fitted.model
    assert "ARIMA" in fitted.model
    assert fitted.quantiles is not None
    assert np.allclose(fitted.quantiles[:, 0] / task.horizons, 4.0, atol=1.2)
    lots = list(fit.lots(three, "refit", [fit.word_of(one, task, fitted)]))
    shelf = shop(PRICES)
    told(shelf, record.Answer(0, lots, {"status": "fitted"}))
    assert shelf.counters["guests_adopted:refit"] == 1
    who = shelf.family.explain(shelf.model[[one.row]], shelf.commons.shared)
    assert who.weights[0, who.experts.index("refit")] > 0


def test_a_fit_that_cannot_be_is_no_word() -> None:
    """Nothing seen: no model, no quantiles, and the run goes on."""
    assert fit.fit(Task(np.full(40, np.nan), np.array([7, 7, 28]), 9.0)).quantiles is None


def test_the_same_run_is_the_same_records_wherever_telling_begins(three: Shelf) -> None:
    """What a second leader tells from the middle are the same bytes; with other shelves by now it tells nobody."""
    meter = Meter()
    lots = spend.answer([three], 3.0, meter, meter.fitting).lots * 3
    run = record.read_run(record.pack_run(record.made(record.Answer(0, lots, {}), 9, 5, "", "restock", 1)))
    whole = list(record.told(run, 0, 1))
    assert list(record.told(run, 1, 1)) == whole[1:]
    parts = [decode(frame, 0).outlooks for _, records in whole for _, frame in records]
    assert [(said.head.run, said.head.part) for said in parts if said] == [(9, 0), (9, 1), (9, 2)]
    assert [records for _, records in record.told(run, 0, 4)] == [[], [], []]


def test_trees_learn_from_kept_days_and_speak_of_every_row() -> None:
    """Trained on the shelf's own days, their word is taken over by all rows; without time, they say why not."""
    pytest.importorskip("lightgbm")
    shelf = shop({f"S{i}": 1.0 + i for i in range(40)})
    found = fit.trained([shelf], 20)
    assert found is not None
    words = fit.said_by(found, shelf, 15)
    assert len(words) == 15
    assert {word.as_of for word in words} == {int(shelf.hot["day"][0]) - 1}
    told(shelf, record.Answer(0, list(fit.lots(shelf, "trees", words)), {}))
    assert shelf.counters["guests_adopted:trees"] == 15
    meter = Meter()
    assert spend.answer([shelf], 1.0, meter, meter.fitting).summary["trees"] == "too little CPU time to train them"


def test_what_is_said_lies_within_what_the_fold_takes(three: Shelf) -> None:
    """Whatever a model says is cut to ascending quantiles between nothing and the bound the fold knows."""
    wild = np.array([[[np.nan, 3.0, 2.0, np.inf, 1e9, -1.0]] * 3])
    cut = fit.bounded(wild, np.array([[4, 7, 28]]), np.array([5.0]))
    assert (np.diff(cut, axis=2) >= 0).all()
    assert (cut.max(axis=(0, 2)) == [20.0, 35.0, 140.0]).all()
    assert cut.min() == 0.0
    assert replace(three.config, shelf=0) == three.config, "the shelf was only read"
    assert three.hot["day"][0] - 20_000 == DAYS
