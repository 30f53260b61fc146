"""skillmatch: who, in another lab, can help with a project need, and why.

>>> import skillmatch
>>> matcher = skillmatch.load("mylab")          # doctest: +SKIP
>>> answer = matcher.match("tune our Ceph cluster")  # doctest: +SKIP
>>> answer.matches[0].profile.name              # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .errors import (
        DamagedModelError,
        DataError,
        FormatError,
        InfeasibleError,
        MissingExtraError,
        ModelError,
        NoModelError,
        NotPromotedError,
        Problem,
        SkillmatchError,
        UsageError,
    )
    from .matcher import Matcher, Options, load
    from .records import (
        Evidence,
        Gap,
        Judgement,
        Match,
        Need,
        Person,
        Profile,
        Project,
        Proof,
        Reason,
        SkillClaim,
        Suggestion,
    )

#: Public names and where they live; imported on first use, so that `import skillmatch` costs nothing.
_HOME = {
    "errors": (
        "DamagedModelError",
        "DataError",
        "FormatError",
        "InfeasibleError",
        "MissingExtraError",
        "ModelError",
        "NoModelError",
        "NotPromotedError",
        "Problem",
        "SkillmatchError",
        "UsageError",
    ),
    "matcher": ("Matcher", "Options", "load"),
    "records": (
        "Evidence",
        "Gap",
        "Judgement",
        "Match",
        "Need",
        "Person",
        "Profile",
        "Project",
        "Proof",
        "Reason",
        "SkillClaim",
        "Suggestion",
    ),
}
__all__ = [  # noqa: RUF022  grouped by where they live
    "__version__",
    "DamagedModelError",
    "DataError",
    "FormatError",
    "InfeasibleError",
    "MissingExtraError",
    "ModelError",
    "NoModelError",
    "NotPromotedError",
    "Problem",
    "SkillmatchError",
    "UsageError",
    "Matcher",
    "Options",
    "load",
    "Evidence",
    "Gap",
    "Judgement",
    "Match",
    "Need",
    "Person",
    "Profile",
    "Project",
    "Proof",
    "Reason",
    "SkillClaim",
    "Suggestion",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
