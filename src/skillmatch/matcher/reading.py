"""What profiles say, item by item, and what a version keeps of each person beside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from .. import explain
from ..records import Profile, content_hash
from ..retrieval import Floats, Ints

#: Worth of a claim without a level, between "has used it" and "does it daily".
UNSTATED_WORTH = 0.5
#: A claim or sentence loses half of its worth in this many years.
HALF_LIFE_YEARS = 10.0


def item_rows(
    people: Sequence[Profile],
) -> tuple[list[tuple[str, str, str]], Ints, list[int], list[date | None]]:
    """(text, kind, source) of every claim and sentence, whose it is, the level claimed (0: none), and of what date."""
    rows: list[tuple[str, str, str]] = []
    owner: list[int] = []
    level: list[int] = []
    when: list[date | None] = []
    for i, profile in enumerate(people):
        for claim in profile.skills:
            rows.append((claim.name, "skill", claim.source or profile.source))
            level.append(claim.level or 0)
            when.append(claim.last_used)
        for item in profile.evidence:
            rows.append((item.text, item.kind, item.source or profile.source))
            level.append(0)
            when.append(item.date)
        owner += [i] * (len(profile.skills) + len(profile.evidence))
    return rows, np.array(owner, dtype=np.int64), level, when


def freshness(when: Sequence[date | None], today: date) -> Floats:
    """A factor in (0, 1] per item: halved every HALF_LIFE_YEARS; 1 where no date is given."""
    years = [max((today - d).days, 0) / 365.25 if d else 0.0 for d in when]
    out: Floats = (0.5 ** (np.array(years) / HALF_LIFE_YEARS)).astype(np.float32)
    return out


def as_entry(profile: Profile) -> dict[str, Any]:
    """What a version keeps of a person beside their items, as JSON has it."""
    words = sum(len(c.name.split()) for c in profile.skills) + sum(len(e.text.split()) for e in profile.evidence)
    return {
        "id": profile.id,
        "name": profile.name,
        "lab": profile.lab,
        "family": profile.family,
        "availability": profile.availability,
        "available_from": profile.available_from.isoformat() if profile.available_from else None,
        "available_to": profile.available_to.isoformat() if profile.available_to else None,
        "updated": profile.updated.isoformat() if profile.updated else None,
        "thin": explain.is_thin(len(profile.skills) + len(profile.evidence), words),
        "hash": content_hash(profile),
    }
