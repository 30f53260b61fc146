"""Composes the parts: a need is read (``asking``), profiles are read (``reading``), matched and kept (``matching``).

``spreading`` answers a batch on other machines.
"""

from ..explain import Items
from .asking import Options
from .matching import LEXICON, NOBODY, Matcher, Scores, grouped, load
from .reading import HALF_LIFE_YEARS

__all__ = ["HALF_LIFE_YEARS", "LEXICON", "NOBODY", "Items", "Matcher", "Options", "Scores", "grouped", "load"]
