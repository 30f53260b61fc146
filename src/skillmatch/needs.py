"""Project text to weighted needs.

A project that lists its needs keeps them. Else each sentence of title and description becomes a need, linked to the
taxonomy concept it most likely asks for; a short list of names ("GPU, Ceph and Spark") becomes a need a name. What was
understood is shown to the user with every answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .encoders import Encoder
from .records import MAX_TEXT, Need, Project
from .retrieval import fold, tokens
from .sources import split_sentences
from .taxonomy import ConceptModel, NeedBatch, Taxonomy, concept_rows

#: A concept is shown as what a need asks for from this probability on.
LINK_BAR = 0.3
#: A longer text keeps its most telling sentences.
MOST_NEEDS = 12
#: A text of at most this many words that names several concepts is a list of needs.
LIST_WORDS = 12
#: Ids of needs added by ``--must``.
MUST_PREFIX = "must-"


@dataclass(frozen=True)
class Understood:
    """A project whose needs are known, and those needs ready to be scored."""

    project: Project
    batch: NeedBatch


def understand(
    projects: Sequence[Project],
    taxonomy_ids: Sequence[str],
    model: ConceptModel,
    encoder: Encoder,
    whole: bool = False,
) -> list[Understood]:
    """Needs of all projects, embedded in one go. Every project gets at least one need.

    ``whole``: a text that lists no needs is one need; better than its sentences where the taxonomy knows nothing of
    what they speak of (measured on reviewers and papers).
    """
    drafts = [_needs_of(p, model, whole) for p in projects]
    texts = [n.text for needs in drafts for n in needs]
    vectors = encoder.encode(texts, "query")
    ids, p = concept_rows(model, texts, vectors)
    out: list[Understood] = []
    start = 0
    for project, needs in zip(projects, drafts, strict=True):
        rows = np.arange(start, start + len(needs))
        start += len(needs)
        listed = any(not n.id.startswith(MUST_PREFIX) for n in project.needs)
        read = [i for i, n in enumerate(needs) if not n.id.startswith(MUST_PREFIX)]
        if not listed and len(read) > MOST_NEEDS:
            telling = np.array(read)[np.argsort(-p[rows[read], 0], kind="stable")[:MOST_NEEDS]]
            keep = np.sort([*telling, *(i for i in range(len(needs)) if i not in read)])
            rows, needs = rows[keep], [needs[i] for i in keep]
        linked = tuple(
            replace(
                need,
                id=need.id if project.needs or need.must else f"n{k}",
                skill=need.skill or (taxonomy_ids[ids[row, 0]] if p[row, 0] >= LINK_BAR else None),
            )
            for k, (need, row) in enumerate(zip(needs, rows, strict=True), start=1)
        )
        batch = NeedBatch(tuple(n.text for n in linked), vectors[rows], ids[rows], p[rows])
        out.append(Understood(replace(project, needs=linked), batch))
    return out


def _needs_of(project: Project, model: ConceptModel, whole: bool) -> list[Need]:
    """The project's own needs, else those of its text; needs added by ``--must`` come on top of either."""
    added = [n for n in project.needs if n.id.startswith(MUST_PREFIX)]
    own = [n for n in project.needs if not n.id.startswith(MUST_PREFIX)]
    return [*(own or ([_whole(project)] if whole else _draft(project, model))), *added]


def _whole(project: Project) -> Need:
    text = ". ".join(t for t in (project.title, project.description) if t.strip())
    return Need(id="n1", text=text[:MAX_TEXT] or project.id)


def project_from_text(text: str, lab: str = "") -> Project:
    """Free text as a project. Raises pydantic's ``ValidationError`` where it is no text at all."""
    return Project(id="need", description=text.strip(), lab=lab)


def _draft(project: Project, model: ConceptModel) -> list[Need]:
    whole = _whole(project).text
    words = tokens(whole)
    if len(words) <= LIST_WORDS:
        names = model.names.find(whole)
        distinct = list(dict.fromkeys(written for _, _, written in names))
        if len(distinct) > 1 and sum(len(tokens(n)) for n in distinct) * 2 >= len(words):
            return [Need(id=f"n{i}", text=n) for i, n in enumerate(distinct, start=1)]
    # A title that the text says again is no need of its own.
    title = "" if fold(project.title).rstrip(".") in fold(project.description) else project.title
    sentences = [s for text in (title, project.description) for s in split_sentences(text)]
    # A title that the description repeats, or a sentence of one word, tells nothing of its own.
    kept = [s for s in dict.fromkeys(sentences) if len(tokens(s)) > 1] or [whole.strip() or project.id]
    return [Need(id=f"n{i}", text=s) for i, s in enumerate(kept, start=1)]


def must_need(text: str, taxonomy: Taxonomy | None = None) -> Need:
    """The need that ``--must SKILL`` adds."""
    concept = taxonomy[text] if taxonomy is not None and text in taxonomy else None
    return Need(id=f"{MUST_PREFIX}{text}", text=concept.label_en if concept else text, must=True, weight=3)
