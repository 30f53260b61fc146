"""What the columns of a lab's files may be called, in French and English, and which field each one fills."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..records import Judgement, Profile, Project, Text
from . import cells

#: Evidence columns of profiles: all that are present are read. The value is the kind of their items.
EVIDENCE = {"evidence": "note", "experience": "experience", "bio": "bio"}

_PROFILE = {
    "id": "id, identifiant, identifier, matricule, ident, uid, numéro, id profil, profil id, profile id,"
    " id agent, person id, staff id",
    "name": "name, nom, nom complet, full name, nom et prénom, nom prénom, prénom nom, personne, agent",
    "first_name": "prénom, first name, given name",
    "lab": "lab, labo, laboratoire, laboratory, unité, institut, institute",
    "family": "family, famille, métier, famille de métier, famille métier, job family, job, filière",
    "site": "site, bâtiment, building, localisation, location, lieu",
    "languages": "languages, langues, langue, language, langues parlées",
    "skills": "skills, compétences, compétence, skill, compétences clés, savoir-faire, competencies",
    "evidence": "evidence, preuves, preuve, justificatifs, éléments de preuve",
    "experience": "experience, expérience, expériences, expérience professionnelle, réalisations,"
    " réalisation, achievements, projets, projects, missions, activités, activities, description",
    "bio": "bio, biographie, biography, parcours, cv, résumé, présentation, about, profil, profile",
    "availability": "availability, disponibilité, dispo, taux de disponibilité, disponibilité en %, percent available",
    "available_from": "available from, disponible à partir de, disponible à partir du, disponible dès,"
    " disponible le, disponible depuis, dispo à partir de, date de disponibilité",
    "available_to": "available to, available until, disponible jusqu'au, disponible jusqu'à, dispo jusqu'au,"
    " fin de disponibilité",
    "collaborators": "collaborators, collaborateurs, collaborations, collègues, works with, travaille avec",
    "consent": "consent, consentement, accord, consents",
    "updated": "updated, mis à jour, mise à jour, date de mise à jour, last updated, updated at, updated on, maj",
}
_PROJECT = {
    "id": "id, identifiant, identifier, numéro, référence, ref, code, id projet, projet id, project id, code projet",
    "title": "title, titre, intitulé, nom, name, nom du projet, project name, projet, project",
    "lab": "lab, labo, laboratoire, laboratory, unité, institut, institute",
    "description": "description, descriptif, résumé, summary, abstract, contexte, texte, text, objectifs",
    "needs": "needs, besoins, need, besoin, compétences, skills, compétences recherchées, "
    " compétences requises, required skills, compétences nécessaires",
    "size": "size, taille, taille de l'équipe, team size, nombre de personnes, effectif, nb personnes, people",
    "start": "start, début, date de début, start date, commence le, starts",
    "end": "end, fin, date de fin, end date, échéance, finit le, ends",
}
_JUDGEMENT = {
    "project_id": "project id, project, projet, id projet, projet id, identifiant projet, query",
    "profile_id": "profile id, profile, profil, id profil, profil id, identifiant profil, personne, person, agent",
    "grade": "grade, note, niveau, score, jugement, judgement, relevance, pertinence",
}
_SKILL_TABLE = {
    "id": "id, identifiant, concept",
    "en": "en, english, anglais, label en, libellé en, libellé anglais",
    "fr": "fr, french, français, label fr, libellé fr, libellé français",
    "aliases_en": "aliases en, alias en, synonymes en, alias anglais, synonymes anglais",
    "aliases_fr": "aliases fr, alias fr, synonymes fr, alias français, synonymes français",
    "names": "names, noms, noms propres, acronymes, acronyms, sigles",
    "broader": "broader, plus large, générique, parents, parent",
    "related": "related, lié, liés, associés, voir aussi, see also",
    "examples_en": "examples en, example en, exemples en, exemples anglais",
    "examples_fr": "examples fr, example fr, exemples fr, exemples français",
}
_SKILL = {
    "name": "name, nom, skill, compétence, label, libellé, intitulé",
    "level": "level, niveau",
    "last_used": "last used, dernière utilisation, dernier usage, utilisé en, last use",
}
_EVIDENCE_ITEM = {
    "text": "text, texte, description, content, contenu, sentence, phrase",
    "kind": "kind, type, nature, genre",
    "date": "date, when, quand, année, year",
}
_NEED = {
    "text": "text, texte, besoin, need, name, nom, description, compétence",
    "weight": "weight, poids, importance, priorité, priority",
    "must": "must, obligatoire, indispensable, impératif, required, mandatory",
    "level": "level, niveau, min level, niveau minimum",
    "skill": "skill, concept",
    "id": "id, identifiant",
}


def _keys(names: Mapping[str, str]) -> dict[str, str]:
    return {cells.column_key(alias): field for field, aliases in names.items() for alias in aliases.split(",")}


#: How the items of lists are read.
ITEMS = {
    "skills": cells.Items(_keys(_SKILL), {"level": cells.number, "last_used": cells.day}, cells.parse_skill),
    "evidence": cells.Items(_keys(_EVIDENCE_ITEM), {"date": cells.day}, cells.parse_text),
    "needs": cells.Items(
        _keys(_NEED), {"weight": cells.number, "must": cells.truth, "level": cells.number}, cells.parse_need
    ),
}


@dataclass(frozen=True)
class Kind:
    """One kind of file: the record it makes, its columns, how each field's value is read."""

    name: str
    record: Any
    keys: Mapping[str, str]
    values: Mapping[str, Callable[[Any], Any]]
    required: tuple[str, ...]
    #: One of ``required`` is enough (skills.csv), instead of all.
    any_of: bool = False

    def field(self, column: str) -> str | None:
        """The field a column fills, or None."""
        return self.keys.get(cells.column_key(column))

    def known(self, row: Iterable[object]) -> int:
        """How many different fields the cells of a row name: what tells a header from other rows."""
        return len({f for c in row if isinstance(c, str) and (f := self.field(c))})

    def has_required(self, fields: Iterable[str]) -> bool:
        """Whether these fields hold all that a record can't do without."""
        present = set(fields)
        return any(f in present for f in self.required) if self.any_of else present.issuperset(self.required)

    def closest(self, column: str) -> str | None:
        """The known column whose name is nearest to an unknown one, if any is near."""
        from rapidfuzz import fuzz, process

        found = process.extractOne(cells.column_key(column), list(self.keys), scorer=fuzz.ratio, score_cutoff=60)
        return self.keys[found[0]] if found else None


PROFILES = Kind(
    "profiles",
    Profile,
    _keys(_PROFILE),
    {
        "family": cells.family,
        "languages": cells.listed,
        "availability": cells.percent,
        "available_from": cells.day,
        "available_to": cells.last_day,
        "collaborators": cells.listed,
        "consent": cells.truth,
        "updated": cells.day,
    },
    ("id",),
)
PROJECTS = Kind(
    "projects",
    Project,
    _keys(_PROJECT),
    {"size": cells.number, "start": cells.day, "end": cells.last_day},
    ("id",),
)
JUDGEMENTS = Kind(
    "judgements", Judgement, _keys(_JUDGEMENT), {"grade": cells.number}, ("project_id", "profile_id", "grade")
)
SKILLS = Kind(
    "skills",
    dict[str, Text],
    _keys(_SKILL_TABLE),
    dict.fromkeys(_SKILL_TABLE, cells.joined),
    ("id", "en", "fr"),
    any_of=True,
)


def is_comment(column: str) -> bool:
    """Columns people and programs add: ``_x``, ``# ...``, remarks, pandas' index, ``source``."""
    key = cells.column_key(column)
    return column.strip()[:1] in ("_", "#") or key.startswith(
        ("comment", "remarque", "remark", "unnamed", "note", "observation", "todo", "source")
    )
