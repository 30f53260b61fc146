"""Linking sentences to skills: ``python -m benchmarks.linking SENTENCES... (--labels FILE | --esco FILE)``.

The task of Decorte et al. (arXiv 2209.05987 and 2307.10778): the sentences of job advertisements, each with the ESCO
skills it asks for, out of all of ESCO's. SENTENCES is a file as its authors publish it (CSV with ``sentence`` and
``label``, one row a span) or JSONL with ``sentence`` and ``labels``. The skills are a text file of labels, one a line,
or ``skills_en.csv`` of ESCO's official download, whose other labels are then known as well. Sentences without any
skill are left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from skillmatch import metrics
from skillmatch.encoders import Encoder
from skillmatch.errors import UsageError
from skillmatch.taxonomy import Concept, Taxonomy

from .common import Bm25, Matrix, Report, arguments, char_cosine, rank_fusion, sentence_encoder

PRODUCT = "skillmatch"
FIRST = 10
#: What the authors write where a span has no skill.
NO_LABEL = frozenset({"LABEL NOT PRESENT", "UNDERSPECIFIED", ""})


def read_sentences(path: Path) -> dict[str, set[str]]:
    """Sentence -> its labels, those without any left out."""
    found: dict[str, set[str]] = {}
    if path.suffix == ".jsonl":
        for line in path.read_text("utf-8").splitlines():
            if line.strip():
                row = json.loads(line)
                found.setdefault(row["sentence"], set()).update(row["labels"])
    else:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["sentence"], set()).add((row["label"] or "").strip())
    labelled = {sentence: labels - NO_LABEL for sentence, labels in found.items()}
    return {sentence: labels for sentence, labels in labelled.items() if labels}


def read_labels(path: Path) -> list[Concept]:
    """Concepts of a text file, one English label a line."""
    labels = dict.fromkeys(line.strip() for line in path.read_text("utf-8").splitlines())
    return [Concept(f"label-{n:06d}", label, "", source="esco") for n, label in enumerate(filter(None, labels))]


def read_esco(path: Path) -> list[Concept]:
    """Concepts of ESCO's skills_en.csv, with their other labels."""
    out: dict[str, Concept] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            other = tuple(t.strip() for t in (row["altLabels"] or "").splitlines() if t.strip())
            uri, label = row["conceptUri"], row["preferredLabel"].strip()
            out[uri] = Concept(uri, label, "", aliases_en=other, uri=uri, source="esco", licence="CC BY 4.0")
    return list(out.values())


def baselines(sentences: Sequence[str], labels: Sequence[str], encoder: Encoder) -> dict[str, Matrix]:
    """Plain ways to link, name -> scores (sentences, labels)."""
    chars = char_cosine(sentences, labels)
    vectors = (encoder.encode(sentences, "query") @ encoder.encode(labels).T).astype(np.float64)
    return {
        "vectors": vectors,
        "BM25": Bm25(labels).scores(sentences),
        "char 2-4-grams": chars,
        "rank fusion: chars + vectors": rank_fusion(chars, vectors),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    given = parser.parse_args(argv)


if __name__ == "__main__":
    main()
