"""Skills that projects ask for and that nobody, one person, or one lab alone holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .problem import Floats, Worker

#: Somebody holds a skill who is more likely than not to be useful for a need of it.
HOLDS = 0.5
#: How many people are named as closest to learning a skill.
_CLOSEST = 3


@dataclass(frozen=True, slots=True)
class Scarcity:
    """A skill too few hold. ``kind``: nobody, person or lab. ``holders`` and ``closest``: (id, score), best first."""

    topic: str
    kind: str
    holders: tuple[tuple[str, float], ...]
    closest: tuple[tuple[str, float], ...]


def scarce(workers: Sequence[Worker], scores: Mapping[str, Floats], bar: float = HOLDS) -> list[Scarcity]:
    """The scarce ones of ``scores`` (topic -> (workers,), how likely each is to be useful for it), worst first.

    Closest to learning are those who score highest among the others; somebody at 0 is not named.
    """
    order = {"nobody": 0, "person": 1, "lab": 2}
    found = [s for topic, row in scores.items() if (s := _scarcity(topic, workers, row, bar))]
    return sorted(found, key=lambda s: (order[s.kind], s.topic))


def _scarcity(topic: str, workers: Sequence[Worker], row: Floats, bar: float) -> Scarcity | None:
    ranked = sorted(range(len(workers)), key=lambda i: (-row[i], workers[i].id))
    holders = [i for i in ranked if row[i] >= bar]
    labs = {workers[i].lab for i in holders}
    if len(holders) > 1 and (len(labs) > 1 or labs == {""}):
        return None
    kind = "nobody" if not holders else "person" if len(holders) == 1 else "lab"
    closest = [i for i in ranked[len(holders) :] if row[i] > 0]
    if kind == "lab":  # what is missing there is somebody elsewhere
        closest = [i for i in closest if workers[i].lab not in labs]
    return Scarcity(topic, kind, _told(workers, row, holders), _told(workers, row, closest[:_CLOSEST]))


def _told(workers: Sequence[Worker], row: Floats, chosen: Sequence[int]) -> tuple[tuple[str, float], ...]:
    return tuple((workers[i].id, float(np.float64(row[i]))) for i in chosen)
