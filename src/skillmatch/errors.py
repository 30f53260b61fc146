"""What can go wrong, said to users.

::

    SkillmatchError            exit 1   a defect of ours, if it ever reaches a user
    ├── UsageError             exit 2   the question itself is wrong: a flag, an id, a name
    │   └── MissingExtraError  exit 2   an optional package is needed: names the extra
    ├── DataError              exit 2   the lab's files are wrong: every problem at once
    ├── ModelError             exit 3   no version can answer
    │   ├── NoModelError       exit 3   nothing trained yet
    │   ├── DamagedModelError  exit 3   a file differs from its digest
    │   └── FormatError        exit 3   written by a newer skillmatch, or by other libraries
    ├── InfeasibleError        exit 4   the constraints can't all be met
    └── NotPromotedError       exit 5   trained, and worse than the current version

Every leaf says in ``hint`` what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one place of a file.

    ``row`` counts as the program that made the file shows it: from 1, the header line included. ``value`` is
    shortened to what a message can hold. ``severity`` is ``"error"`` (nothing is done until it is mended) or
    ``"warning"`` (the row is used, or left out, as ``remedy`` says).
    """

    file: str
    problem: str
    remedy: str
    row: int | None = None
    column: str | None = None
    value: str | None = None
    severity: str = "error"

    def __post_init__(self) -> None:
        if self.value is not None and len(self.value) > 80:
            object.__setattr__(self, "value", self.value[:77] + "...")

    def place(self) -> str:
        """``file:row [column]``, as far as they are known."""
        text = self.file if self.row is None else f"{self.file}:{self.row}"
        return text if self.column is None else f"{text} [{self.column}]"


class SkillmatchError(Exception):
    """The root. ``code`` never changes with the language; ``hint`` says what to do next."""

    exit_code = 1
    code = "defect"

    def __init__(self, message: str, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)

    def as_dict(self) -> dict[str, object]:
        """The ``skillmatch.error/1`` object of the JSON contract."""
        return {
            "schema": "skillmatch.error/1",
            "error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
                "problems": [
                    {
                        "file": p.file,
                        "row": p.row,
                        "column": p.column,
                        "value": p.value,
                        "problem": p.problem,
                        "remedy": p.remedy,
                    }
                    for p in self.problems
                ],
            },
        }


class UsageError(SkillmatchError):
    exit_code = 2
    code = "usage"


class MissingExtraError(UsageError):
    code = "missing-extra"

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra '{extra}', which is not installed.",
            f"Install it with: pip install 'skillmatch[{extra}]'",
        )
        self.extra = extra


class DataError(SkillmatchError):
    exit_code = 2
    code = "data"


class ModelError(SkillmatchError):
    exit_code = 3
    code = "model"


class NoModelError(ModelError):
    code = "no-model"


class DamagedModelError(ModelError):
    code = "damaged-model"


class FormatError(ModelError):
    code = "model-format"


class InfeasibleError(SkillmatchError):
    exit_code = 4
    code = "infeasible"


class NotPromotedError(SkillmatchError):
    exit_code = 5
    code = "not-promoted"
