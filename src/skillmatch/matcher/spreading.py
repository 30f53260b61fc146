"""A batch beyond one machine: people are parted over the workers of a backend, and each gives its best few.

What the workers do is what a matcher does here: they read projects in the same blocks, and score their people by what
is weighted over everybody. Of each part come the people whom an answer can show; here the answer is made of them all,
in one order, so that it depends neither on how people were parted nor on who did which part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from ..needs import Understood
from ..records import Project, Suggestion
from ..retrieval import on_one_core
from ..runtime import Backend, Workspace
from ..store import MANIFEST, Store
from .asking import Options
from .matching import Matcher, Scores, grouped, load

#: Of an answer that shows more people than this, few are on their way at once.
_FEW_PEOPLE, _GROUPS = 1000, 4
#: Projects whose reading is remembered, for those who ask for their bars after the answers.
_REMEMBERED = 4096


def spread(matcher: Matcher, workspace: Workspace, backend: Backend) -> Matcher:
    """The same matcher, whose answers to many projects are worked out by the backend's workers.

    Raises ``UsageError`` where a worker does not see this version under ``models/`` as it is here.
    """
    store = Store(workspace.models)
    files = [store.folder(matcher.version) / MANIFEST]
    encoder = workspace.models / "encoders" / str(store.manifest(matcher.version)["encoder"]) / "encoder.json"
    backend.agree_on([*files, encoder] if encoder.is_file() else files)
    own = {f.name: getattr(matcher, f.name) for f in fields(Matcher)}
    return _Spread(**own, root=str(workspace.root), backend=backend, parts=_parts(matcher, backend.slots))


def _parts(matcher: Matcher, count: int) -> tuple[tuple[int, int], ...]:
    """(first, last + 1) of the people of each part, which have about as many items as those of any other."""
    items = len(matcher.index.owner)
    ends = [int(matcher.index.owner[items * k // count]) for k in range(1, count)]
    bounds = np.unique([0, *ends, len(matcher.people)]).tolist()
    return tuple(pairwise(bounds))


@dataclass(frozen=True)
class _Spread(Matcher):
    """A matcher of which one method works elsewhere."""

    root: str
    backend: Backend
    parts: tuple[tuple[int, int], ...]
    read: dict[Project, Understood] = field(default_factory=dict, repr=False, compare=False)

    def understand(self, projects: Sequence[Project]) -> list[Understood]:
        return [self.read.get(p) or Matcher.understand(self, [p])[0] for p in projects]

    def match_many(
        self, projects: Iterable[str | Project], options: Options | None = None, block: int = 64
    ) -> Iterator[Suggestion]:
        chosen = options or Options()
        self._check(chosen)
        asked = (self.asked(p, chosen) for p in projects)
        while wave := list(islice(asked, block * self.backend.slots)):
            blocks = [wave[k : k + block] for k in range(0, len(wave), block)]
            read = self.backend.run(_understood, ((self.root, self.version, b) for b in blocks))
            understood = [one for part in read for one in part]
            if len(self.read) + len(understood) > _REMEMBERED:
                self.read.clear()
            self.read.update((one.project, one) for one in understood)
            yield from self.answers(understood, chosen)

    def answers(self, understood: Sequence[Understood], options: Options) -> Iterator[Suggestion]:
        groups = list(grouped(understood))
        many = options.top is None or options.top > _FEW_PEOPLE
        step = _GROUPS if many else max(len(groups), 1)
        for start in range(0, len(groups), step):
            some = groups[start : start + step]
            tasks = ((self.root, self.version, part, group, options) for group in some for part in self.parts)
            with closing(self.backend.run(_best_few, tasks)) as told:
                for group in some:
                    found = list(islice(told, len(self.parts)))
                    for k, one in enumerate(group):
                        yield self.answer(one, options, _merged([scores[k] for scores in found]))


def _merged(parts: Sequence[Scores]) -> Scores:
    """Parts in the order of their people, as one."""
    return Scores(
        np.concatenate([s.people for s in parts]),
        np.concatenate([s.features for s in parts], axis=1),
        np.concatenate([s.best_item for s in parts], axis=1),
    )


# --- on a worker ---------------------------------------------------------------------------------------------------


def _understood(root: str, version: str, projects: Sequence[Project]) -> list[Understood]:
    return _opened(root, version).understand(projects)


def _best_few(
    root: str, version: str, part: tuple[int, int], group: Sequence[Understood], options: Options
) -> list[Scores]:
    """For each project, the scores of those of this part whom its answer may show."""
    whole, own = _opened(root, version), _part(root, version, part)
    item = int(np.searchsorted(whole.index.owner, part[0]))
    with on_one_core():
        best = [own.notable(u, options, s) for u, s in zip(group, own.scores(group), strict=True)]
    return [replace(s, people=s.people + part[0], best_item=s.best_item + item) for s in best]


@lru_cache(maxsize=2)
def _opened(root: str, version: str) -> Matcher:
    """The version, verified file by file; once a process."""
    return load(Workspace(Path(root)), version, threads=1)


@lru_cache(maxsize=16)
def _part(root: str, version: str, part: tuple[int, int]) -> Matcher:
    return _opened(root, version).part(slice(*part))
