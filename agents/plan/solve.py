"""A problem to an answer, for one period or several: the door of the command and of the network agent."""

from __future__ import annotations

from collections.abc import Callable

from agents.plan import answer as answers
from agents.plan.tables import Problem
from models.network.periods import schedule
from models.network.plan import plan
from stream.errors import SetupError


def solve(problem: Problem, periods: int, gap: float, enough: Callable[[], bool] = lambda: False) -> answers.Answer:
    """One period by the plan for now, several by the schedule. Raises SetupError for what several cannot do."""
    if periods == 1 and not problem.fixed.leaves().any():
        return answers.of_plan(problem, plan(problem.picture, problem.fixed, gap, enough=enough), gap)
    try:
        found = schedule(problem.picture, periods, gap=gap, fixed=problem.fixed, enough=enough)
    except ValueError as error:
        hint = "see the file of fixed send-outs; periods count from 0"
        raise SetupError("these files cannot be cut into periods", str(error), hint) from error
    return answers.of_schedule(problem, found, periods, gap)
