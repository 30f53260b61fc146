"""What the lab's words mean: concepts with French and English labels, aliases, names, relations and example sentences.

``concepts`` holds them (shipped, the lab's own, imported); ``names`` finds their exact wordings in a text, longest
first, so that "réseau de neurones" is no network; ``classify`` learns from labels, aliases and example sentences which
concepts a text is about; ``levels`` reads from a sentence how much expertise it shows. Both are trained with
scikit-learn and answer with NumPy alone. The file format is documented in ``data/taxonomy.md``.

What others publish is not needed to answer, so these are imported by name::

    imports    files as published -> concepts      lexicon   French words -> English ones
    merging    imported beside known concepts      linking   any text -> concepts, over all of them
    known      all that a workspace knows          unmatched what no concept covers
"""

from .classify import (
    CHANNELS,
    TOP_CONCEPTS,
    ConceptModel,
    Examples,
    NeedBatch,
    TextSpace,
    concept_rows,
    examples,
    fit_concepts,
)
from .concepts import Concept, Taxonomy, concept_from_dict, read_additions, twins
from .levels import LEVEL_WORTH, LevelModel, fit_levels
from .names import NameIndex

__all__ = [
    "CHANNELS",
    "LEVEL_WORTH",
    "TOP_CONCEPTS",
    "Concept",
    "ConceptModel",
    "Examples",
    "LevelModel",
    "NameIndex",
    "NeedBatch",
    "Taxonomy",
    "TextSpace",
    "concept_from_dict",
    "concept_rows",
    "examples",
    "fit_concepts",
    "fit_levels",
    "read_additions",
    "twins",
]
