"""What people answered to suggestions, what training learns from it, and what was suggested where that is kept.

::

    answers.py    data/feedback.jsonl: append, import, read, forget; answers -> labels
    shown.py      data/suggestions.jsonl: what was shown to whom it was asked, for ``retention`` days
"""

from __future__ import annotations

from .answers import (
    COLUMNS,
    SCHEMA,
    Answer,
    Label,
    add,
    forget,
    import_rows,
    labels,
    question_id,
    read,
)
from .shown import SHOWN_SCHEMA, Shown, expire, forget_shown, last_shown, log_shown, read_shown

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "SHOWN_SCHEMA",
    "Answer",
    "Label",
    "Shown",
    "add",
    "expire",
    "forget",
    "forget_shown",
    "import_rows",
    "labels",
    "last_shown",
    "log_shown",
    "question_id",
    "read",
    "read_shown",
]
