"""Scores, capacities and rules -> teams and assignments. Pure: nothing here knows files, models or languages.

::

    problem    what is decided: workers, demands, rules; arrays by id
    program    the same as a mixed-integer linear program
    solve      its stages, by HiGHS; bounds and gaps
    plan       the whole list: assignment, alternates, shortfalls, the price of each rule
    teams      one project: the best team, the next best, what is lost if somebody says no
    scarcity   skills that nobody, one person or one lab alone holds
"""

from __future__ import annotations

from .plan import assign, ceilings, topic
from .problem import HAND, Demand, Rules, Worker, capacity, keep_best, layout
from .scarcity import HOLDS, Scarcity, scarce
from .teams import Refusal, TeamChoice, best_team

__all__ = [
    "HAND",
    "HOLDS",
    "Demand",
    "Refusal",
    "Rules",
    "Scarcity",
    "TeamChoice",
    "Worker",
    "assign",
    "best_team",
    "capacity",
    "ceilings",
    "keep_best",
    "layout",
    "scarce",
    "topic",
]
