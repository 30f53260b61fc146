"""Retrain: read the data, embed only what changed, fit, compare with the current version, promote or keep aside.

::

    running.py      one training, from files to a version
    learning.py     judgements and answers -> the ranker, cross-fitted by project
    rivals.py       champion against challenger
    moved.py        what a training moved
    evaluating.py   metrics of a version, and of two
    exposure.py     who is suggested how often
    erasing.py      one person leaves every file
    unchanged.py    whether a training would read anything new

The concept classifier depends on taxonomy and encoder alone, so it is fitted once and kept in ``models/cache``; vectors
are cached by content.
"""

from __future__ import annotations

from ..errors import UsageError
from .erasing import Erased, erase, people_of, require_held
from .evaluating import CHANCES, RANKING, USEFUL, Evaluation, compare, evaluate, language
from .exposure import Capped, Exposure, capped, exposure
from .learning import (
    CORRECTION_C,
    FEWEST_PROJECTS,
    PIPELINE_FILE,
    Fitted,
    Folds,
    Judged,
    check_pipeline,
    fit_to_judgements,
    judged_projects,
    save_pipeline,
)
from .moved import Moved, moved
from .rivals import TOLERANCE, Rival, Verdict, duel, rival_of
from .running import Report, concept_models, train, workspace_taxonomy

__all__ = [
    "CHANCES",
    "CORRECTION_C",
    "FEWEST_PROJECTS",
    "PIPELINE_FILE",
    "RANKING",
    "TOLERANCE",
    "USEFUL",
    "Capped",
    "Erased",
    "Evaluation",
    "Exposure",
    "Fitted",
    "Folds",
    "Judged",
    "Moved",
    "Report",
    "Rival",
    "UsageError",
    "Verdict",
    "capped",
    "check_pipeline",
    "compare",
    "concept_models",
    "duel",
    "erase",
    "evaluate",
    "exposure",
    "fit_to_judgements",
    "judged_projects",
    "language",
    "moved",
    "people_of",
    "require_held",
    "rival_of",
    "save_pipeline",
    "train",
    "workspace_taxonomy",
]
