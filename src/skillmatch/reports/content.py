"""What a report says, before any format: texts cleaned, worded and put in reading order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

from ..records import Gap, Match, Need, Project, Proof, Suggestion
from .language import tr

#: concept id -> (English label, French label)
Labels: TypeAlias = Mapping[str, tuple[str, str]]

#: Characters that steer a terminal, reorder what is read, or that no file can hold.
UNSAFE = (
    "\x00-\x1f\x7f-\x9f"  # C0 and C1, where escape sequences begin
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    "\ufeff\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f"  # no characters, or tags that nobody sees
)
_UNSAFE = re.compile(f"[{UNSAFE}]")
_UNSAFE_IN_LINES = re.compile(f"(?![\n\t])[{UNSAFE}]")
# Not \s: the non-breaking spaces of French typography stay.
_BREAKS = re.compile("[ \t\n\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")

#: How much of a sentence a terminal and a page show; data formats keep all of it.
NEED_SHOWN, EVIDENCE_SHOWN, TITLE_SHOWN = 120, 240, 100


@dataclass(frozen=True)
class Table:
    """Rows under columns, for whatever has no layout of its own.

    Title, columns and notes are English messages: people read them translated, data formats keep the
    columns as they are. A cell is a text, a number, a truth value, a date, a sequence of these, or ``None``;
    the items of a tuple are read on lines of their own. Raises ``ValueError`` where a row and the columns
    differ in length.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} cells, the table {len(self.columns)} columns")


Objects: TypeAlias = Table | Mapping[str, Any] | Sequence[Mapping[str, Any]]
Result: TypeAlias = Suggestion | Sequence[Suggestion] | Objects


def clean(text: str) -> str:
    """``text`` as one line that is safe to show: breaks become spaces, unsafe characters U+FFFD."""
    return _UNSAFE.sub("\ufffd", _BREAKS.sub(" ", text)).strip(" ")


def clean_lines(text: str) -> str:
    """Like ``clean``, but line ends and tabs stay."""
    return _UNSAFE_IN_LINES.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def shorten(text: str, longest: int) -> str:
    """``text`` cut to at most ``longest`` characters, after a word where there is one to cut after."""
    if len(text) <= longest:
        return text
    head = text[: longest - 1]
    space = head.rfind(" ")
    return (head[:space] if space > longest // 2 else head).rstrip(" ,;:.–-") + "…"


def quote(text: str, lang: str) -> str:
    """``text`` between the quotation marks of ``lang``."""
    return f"«\u00a0{text}\u00a0»" if lang == "fr" else f"“{text}”"


def percent(score: float, lang: str) -> str:
    """A probability as people read it; never 0 or 100 % unless it is."""
    whole = round(100 * score)
    if whole == 100 and score < 1:
        whole = 99
    number = "<1" if whole == 0 and score > 0 else str(whole)
    return f"{number}\u00a0%" if lang == "fr" else f"{number}%"


def cell_text(value: object, lang: str) -> str:
    """A cell of a table as people read it, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return tr("yes", lang) if value else tr("no", lang)
    if isinstance(value, float):
        text = f"{value:.4g}"
        return text.replace(".", ",") if lang == "fr" else text
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(str(k))}: {cell_text(v, lang)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(cell_text(v, lang) for v in value)
    return clean(str(value))


@dataclass(frozen=True, slots=True)
class NeedLine:
    """A need as it was understood; ``concept`` is empty where no skill was recognised."""

    id: str
    weight: str
    must: bool
    concept: str
    text: str


@dataclass(frozen=True, slots=True)
class ProofLine:
    """One item of a profile, quoted, where it stands, and the needs (id, score) that it answers."""

    needs: tuple[tuple[str, float], ...]
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class PersonCard:
    """One person of an answer. ``silent`` are the needs on which the profile holds nothing."""

    rank: int
    who: str
    place: str
    score: float
    cross_lab: bool
    thin: bool
    proofs: tuple[ProofLine, ...]
    silent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One suggestion, worded. ``id`` is empty for a free text, ``verdict`` where somebody was found."""

    id: str
    title: str
    lab: str
    about: str
    needs: tuple[NeedLine, ...]
    verdict: str
    people: tuple[PersonCard, ...]
    gaps: tuple[str, ...]
    more: str


def answer(s: Suggestion, lang: str, labels: Labels) -> Answer:
    """What is said of a suggestion in ``lang``."""
    needs = {need.id: need for need in s.project.needs}
    return Answer(
        id="" if _is_text(s.project) else clean(s.project.id),
        title=_title(s.project),
        lab=clean(s.project.lab),
        about=_about(s, lang),
        needs=tuple(_need_line(need, lang, labels) for need in s.project.needs),
        verdict=_verdict(s, lang),
        people=tuple(_person(match, needs, lang) for match in s.matches),
        gaps=tuple(_gap(gap, needs.get(gap.need), s.abstained, lang) for gap in s.gaps),
        more=_more(s, lang),
    )


def concept_label(concept: str | None, lang: str, labels: Labels) -> str:
    """A concept's label in ``lang``, else in the other language, else its id; empty where there is none."""
    if not concept:
        return ""
    english, french = labels.get(concept, ("", ""))
    chosen = (french or english) if lang == "fr" else (english or french)
    return clean(chosen or concept)


def _about(s: Suggestion, lang: str) -> str:
    lab = [tr("Lab: {lab}.", lang, lab=clean(s.project.lab))] if s.project.lab else []
    meaning = tr("Percentages are estimated probabilities of being useful.", lang)
    return " ".join([*lab, tr("Model: {model}.", lang, model=clean(s.model)), meaning])


def _is_text(project: Project) -> bool:
    """Whether a project is a question somebody typed, that no file holds under its id."""
    return not project.source and not project.title


def _title(project: Project) -> str:
    text = project.title.strip() or project.description.strip() or "; ".join(need.text for need in project.needs)
    return shorten(clean(text), TITLE_SHOWN)


def _need_line(need: Need, lang: str, labels: Labels) -> NeedLine:
    return NeedLine(
        id=clean(need.id),
        weight="●" * max(1, round(need.weight)),
        must=need.must,
        concept=concept_label(need.skill, lang, labels),
        text=shorten(clean(need.text), NEED_SHOWN),
    )


def _person(match: Match, needs: Mapping[str, Need], lang: str) -> PersonCard:
    who = match.profile
    order = {need: place for place, need in enumerate(needs)}
    proofs: dict[Proof, list[tuple[str, float]]] = {}
    silent = []
    for reason in sorted(match.needs, key=lambda r: order.get(r.need, len(order))):
        if reason.evidence is None:
            silent.append(clean(reason.need))
        else:
            # One sentence often answers several needs: it is read once.
            proofs.setdefault(reason.evidence, []).append((clean(reason.need), reason.score))
    return PersonCard(
        rank=match.rank,
        who=f"{clean(who.name)} ({clean(who.id)})" if who.name else clean(who.id),
        place=" · ".join(clean(part) for part in (who.lab, who.family) if part),
        score=match.score,
        cross_lab=match.cross_lab,
        thin=match.thin,
        proofs=tuple(
            ProofLine(tuple(answered), _quoted(proof, EVIDENCE_SHOWN, lang), clean(proof.source))
            for proof, answered in proofs.items()
        ),
        silent=tuple(silent),
    )


def _verdict(s: Suggestion, lang: str) -> str:
    if s.abstained and s.matches:
        return tr("Nobody reaches the bar; everybody is listed because all were asked for.", lang)
    if s.matches:
        return ""
    if not s.abstained:
        return tr("There is nobody to show.", lang)
    # The gaps say it themselves where they name every need.
    all_gaps = bool(s.gaps) and {need.id for need in s.project.needs} <= {gap.need for gap in s.gaps}
    return "" if all_gaps else tr("Nobody in these profiles fits.", lang)


def _gap(gap: Gap, need: Need | None, abstained: bool, lang: str) -> str:
    if need is None:
        said = tr("Nobody covers {need}.", lang, need=clean(gap.need))
    else:
        text = quote(shorten(clean(need.text), NEED_SHOWN), lang)
        if abstained:
            said = tr("Nobody in these profiles covers {text}.", lang, text=text)
        else:
            said = tr("Nobody covers {need} {text}.", lang, need=clean(need.id), text=text)
    if gap.closest is None:
        return f"{said} {tr('Nothing in the profiles comes close.', lang)}"
    return f"{said} {tr('Closest: {proof}', lang, proof=_proof(gap.closest, lang))}"


def _proof(proof: Proof, lang: str) -> str:
    text = _quoted(proof, NEED_SHOWN, lang)
    return f"{text} ({clean(proof.source)})" if proof.source else text


def _quoted(proof: Proof, longest: int, lang: str) -> str:
    """What the profile says; that it is only claimed, where it is no sentence about something done."""
    text = quote(shorten(clean(proof.text), longest), lang)
    if proof.kind != "skill":
        return text
    if proof.level is None:
        return f"{text}, {tr('a skill they declare', lang)}"
    return f"{text}, {tr('a skill they declare, level {level} of 5', lang, level=proof.level)}"


def _more(s: Suggestion, lang: str) -> str:
    if not s.matches:
        return ""
    profile = shlex.quote(clean(s.matches[0].profile.id))
    asked = clean(s.project.description) if _is_text(s.project) else clean(s.project.id)
    # A long question is not repeated: its first words stand for it.
    shown = f"{asked[:40]}…" if len(asked) > 60 else asked
    command = f"skillmatch explain {shlex.quote(shown)} {profile}"
    return tr("More on one person: {command}", lang, command=command)
