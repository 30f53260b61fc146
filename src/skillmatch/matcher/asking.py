"""What is asked: a need as a project, and whom its options leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import explain
from ..errors import UsageError
from ..needs import MUST_PREFIX, must_need, project_from_text
from ..records import Need, Project
from ..retrieval import Ints


@dataclass(frozen=True)
class Options:
    """What narrows or reorders an answer; the flags of ``suggest`` and ``batch`` under the same names.

    ``top``: how many people, None for everyone (no bar then). Dates are days on which the person must be available.
    """

    top: int | None = 5
    from_lab: str | None = None
    must: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    lab: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    available_from: date | None = None
    available_to: date | None = None
    min_score: float | None = None


@dataclass(frozen=True)
class Columns:
    """What people are chosen by, one entry a person; days as ordinals."""

    ids: NDArray[np.str_]
    lab: NDArray[np.str_]
    family: NDArray[np.str_]
    available: NDArray[np.bool_]
    begins: Ints
    ends: Ints

    @classmethod
    def of(cls, people: Sequence[dict[str, Any]]) -> Columns:
        """Of a version's people."""
        ids, lab, family = (np.array([p[k] or "" for p in people], dtype=np.str_) for k in ("id", "lab", "family"))
        days = [
            np.array([date.fromisoformat(p[k]).toordinal() if p[k] else never for p in people], dtype=np.int64)
            for k, never in (("available_from", 0), ("available_to", date.max.toordinal()))
        ]
        return cls(ids, lab, family, np.array([p["availability"] != 0 for p in people], dtype=bool), *days)

    def only(self, people: Ints) -> Columns:
        """These people's."""
        if len(people) == len(self.ids):
            return self
        return Columns(**{f.name: getattr(self, f.name)[people] for f in fields(self)})


def allowed(who: Columns, project: Project, options: Options, need_scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whom the filters, their availability and what must be shown leave."""
    out = who.available.copy()
    if options.exclude:
        out &= ~np.isin(who.ids, options.exclude)
    for column, wanted in ((who.lab, options.lab), (who.family, options.family)):
        if wanted:
            out &= np.isin(column, wanted)
    start, end = options.available_from or project.start, options.available_to or project.end
    if end:
        out &= who.begins <= end.toordinal()
    if start:
        out &= who.ends >= start.toordinal()
    return out & holds_musts([n if n.id.startswith(MUST_PREFIX) else None for n in project.needs], need_scores)


def as_project(need: str | Project) -> Project:
    """A text as a project of its own. Raises ``UsageError`` where it is empty or can't be read."""
    if isinstance(need, Project):
        return need
    if not need.strip():
        raise UsageError("The need is empty.", 'Say what is needed: skillmatch suggest "tune our Ceph cluster"')
    from pydantic import ValidationError

    try:
        return project_from_text(need)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise UsageError(
            f"The need can't be read: {problem}.", "Give plain text of at most 20,000 characters."
        ) from None


def with_musts(project: Project, musts: Sequence[str]) -> Project:
    """The project, with these skills as needs that must be met."""
    return replace(project, needs=(*project.needs, *(must_need(m) for m in musts))) if musts else project


def holds_musts(needs: Sequence[Need | None], need_scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Who shows something for every one of these needs that must be met."""
    must = [k for k, need in enumerate(needs) if need is not None and need.must]
    return np.asarray((need_scores[must] >= explain.PROOF_BAR).all(axis=0), dtype=np.bool_)
