"""A toy world whose right answers are obvious: ten trades, one expert and one beginner of each, in two languages.

Everything answers with the hashing encoder, so that a matcher takes a moment, and no model, to fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from skillmatch.encoders import Encoder, HashingEncoder
from skillmatch.matcher import Matcher
from skillmatch.records import Evidence, Profile, SkillClaim
from skillmatch.runtime import Workspace
from skillmatch.taxonomy import Concept, ConceptModel, LevelModel, Taxonomy, fit_concepts, fit_levels

#: id, English label, French label, names; then, as (French, English), what an expert did, what a beginner did, and
#: what is asked for.
_TRADES = (
    (
        ("gpu", "GPU computing", "calcul sur GPU", ("CUDA",)),
        ("Responsable du portage de la reconstruction sur cartes graphiques", "Lead of the port to graphics cards"),
        ("A suivi une formation sur les cartes graphiques", "Attended a course on graphics cards"),
        ("Porter un code de calcul sur cartes graphiques", "Port a simulation code to graphics cards"),
    ),
    (
        ("ceph", "Ceph storage", "stockage Ceph", ("Ceph", "RADOS")),
        (
            "A conçu et exploite le stockage objet de dix pétaoctets",
            "Designed and runs the ten petabyte object storage",
        ),
        ("A ajouté un disque au stockage objet, avec aide", "Helped to add a disk to the object storage"),
        ("Exploiter un stockage objet distribué", "Operate a distributed object storage"),
    ),
    (
        ("directory", "Active Directory", "annuaire Active Directory", ("AD", "Kerberos")),
        ("Administre les domaines Windows et leurs stratégies", "In charge of the Windows domains and group policies"),
        ("Crée parfois un compte dans le domaine Windows", "Sometimes creates an account in the Windows domain"),
        ("Fusionner deux domaines Windows", "Merge two Windows domains and their accounts"),
    ),
    (
        ("network", "network administration", "administration réseau", ("VLAN", "Cisco IOS")),
        ("Responsable des commutateurs et du routage du campus", "In charge of the switches and routing of the campus"),
        ("A branché un commutateur sous surveillance", "Plugged in a switch under supervision"),
        ("Revoir les commutateurs et le routage", "Redesign the switches and the routing"),
    ),
    (
        ("learning", "machine learning", "apprentissage automatique", ("PyTorch", "ML")),
        (
            "Conçoit et entraîne des réseaux de neurones en production",
            "Designs and trains neural networks in production",
        ),
        ("A lu un tutoriel sur les réseaux de neurones", "Read a tutorial on neural networks"),
        ("Entraîner un réseau de neurones", "Train a neural network on labelled images"),
    ),
    (
        ("slow-control", "slow control", "contrôle lent", ("EPICS",)),
        ("Architecte de la supervision du vide et des alarmes", "Architect of the vacuum supervision and its alarms"),
        ("A regardé les alarmes du vide pendant un quart", "Watched the vacuum alarms during a shift"),
        ("Superviser le vide et les alarmes", "Supervise vacuum pumps and alarms"),
    ),
    (
        ("firmware", "FPGA firmware", "micrologiciel FPGA", ("VHDL", "Vivado")),
        ("Auteur du micrologiciel de toutes les cartes de lecture", "Author of the firmware of all readout boards"),
        ("A chargé un micrologiciel sur une carte, aidé", "Loaded a firmware on a board, with help"),
        ("Écrire le micrologiciel d'une carte de lecture", "Write the firmware of a readout board"),
    ),
    (
        ("database", "relational databases", "bases de données relationnelles", ("PostgreSQL", "SQL")),
        (
            "Conçoit les schémas et optimise les requêtes de la base",
            "Designs schemas and tunes queries of the database",
        ),
        ("A exécuté une requête toute faite sur la base", "Ran a ready-made query on the database"),
        ("Concevoir le schéma d'une base de données", "Design the schema of a database and its queries"),
    ),
    (
        ("backup", "backups", "sauvegardes", ("Bareos",)),
        ("Responsable des sauvegardes et des essais de restauration", "In charge of backups and restore drills"),
        ("A restauré un fichier d'une sauvegarde, une fois", "Restored one file from a backup, once"),
        ("Mettre en place des sauvegardes hors site", "Set up off-site backups and prove the restore"),
    ),
    (
        ("welding", "welding", "soudure", ("TIG",)),
        ("Soudeur qualifié, responsable de l'atelier", "Qualified welder, head of the workshop"),
        ("A regardé souder une enceinte inox", "Watched the welding of a steel vessel"),
        ("Souder une enceinte en inox", "Weld a stainless steel vessel"),
    ),
)
ENCODER = HashingEncoder()
TRADES = tuple(trade[0][0] for trade in _TRADES)
#: Trade -> what is asked for, in French and in English.
REQUESTS = {trade[0][0]: trade[3] for trade in _TRADES}
LABS = ("LAC", "IPO")


@lru_cache(maxsize=1)
def taxonomy() -> Taxonomy:
    """The ten trades, and ``kernels``, a narrower kind of ``gpu``; ``welding`` is foreign to computing."""
    concepts = [
        Concept(
            id=name,
            label_en=english,
            label_fr=french,
            names=names,
            families=("other",) if name == "welding" else ("asr",),
            practice=((5, *expert), (1, *beginner)),
            requests=(request,),
        )
        for (name, english, french, names), expert, beginner, request in _TRADES
    ]
    kernels = Concept(
        "kernels",
        "kernel tuning",
        "optimisation de noyaux",
        names=("Nsight",),
        broader=("gpu",),
        practice=((4, "Noyaux deux fois plus rapides après mesure", "Kernels made twice as fast after measuring"),),
    )
    return Taxonomy([*concepts, kernels])


@lru_cache(maxsize=1)
def models() -> tuple[ConceptModel, LevelModel]:
    """The classifiers of the toy taxonomy."""
    return fit_concepts(taxonomy(), ENCODER), fit_levels(taxonomy(), ENCODER)


def expert(trade: str) -> str:
    """The id of the expert of a trade."""
    return f"E{TRADES.index(trade)}"


def beginner(trade: str) -> str:
    """The id of the beginner of a trade."""
    return f"B{TRADES.index(trade)}"


def people(without: Sequence[str] = ()) -> list[Profile]:
    """An expert (E0..E9) and a beginner (B0..B9) of each trade, those of ``without`` left out; even numbers are of
    lab LAC, odd ones of IPO; experts write French and beginners English."""
    out = []
    for i, ((name, english, french, names), did, tried, _) in enumerate(_TRADES):
        if name in without:
            continue
        lab = LABS[i % 2]
        more = f"Exploite {names[0]} tous les jours avec deux collègues, documentation et astreintes comprises"
        less = f"Has seen {names[0]} once at work, during a visit of another laboratory in spring"
        out += [
            Profile(
                f"E{i}",
                f"Expert {i}",
                lab,
                "asr",
                skills=(SkillClaim(french, 5), SkillClaim(names[0], 5)),
                evidence=(Evidence(did[0]), Evidence(more)),
            ),
            Profile(
                f"B{i}",
                f"Beginner {i}",
                lab,
                "online",
                skills=(SkillClaim(english, 1),),
                evidence=(Evidence(tried[1]), Evidence(less)),
            ),
        ]
    return out


def matcher(profiles: Iterable[Profile], encoder: Encoder = ENCODER) -> Matcher:
    """A matcher of these people over the toy taxonomy."""
    model, levels = models()
    return replace(Matcher.fit(list(profiles), taxonomy(), encoder, model, levels), version="toy")


@lru_cache(maxsize=1)
def everyone() -> Matcher:
    """The matcher of all twenty people."""
    return matcher(people())


# --- the same world as files --------------------------------------------------------------------------


def as_row(profile: Profile) -> dict[str, object]:
    """A profile as a JSON file holds it."""
    return {
        "id": profile.id,
        "name": profile.name,
        "lab": profile.lab,
        "family": profile.family,
        "skills": [{"name": s.name, "level": s.level} for s in profile.skills],
        "evidence": [{"text": e.text, "kind": e.kind} for e in profile.evidence],
        **({} if profile.consent is None else {"consent": profile.consent}),
    }


def projects() -> list[dict[str, str]]:
    """Two projects a trade, P0f in French and P0e in English, as rows."""
    return [
        {"id": f"P{i}{lang}", "title": "", "description": REQUESTS[trade][k]}
        for i, trade in enumerate(TRADES)
        for k, lang in enumerate("fe")
    ]


def judgements() -> list[tuple[str, str, int]]:
    """(project, profile, grade) for one project a trade, French and English in turn: the expert 3, the beginner 1,
    the expert of the next trade 0."""
    n = len(TRADES)
    return [
        (f"P{i}{'fe'[i % 2]}", who, grade)
        for i in range(n)
        for who, grade in ((f"E{i}", 3), (f"B{i}", 1), (f"E{(i + 1) % n}", 0))
    ]


def write_workspace(root: Path, profiles: Iterable[Profile] | None = None) -> Workspace:
    """A workspace of this world at ``root``, to be trained with the hashing encoder."""
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    rows = [as_row(p) for p in (people() if profiles is None else profiles)]
    (data / "profiles.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    (data / "projects.json").write_text(json.dumps(projects(), ensure_ascii=False), "utf-8")
    lines = ["project_id,profile_id,grade", *(",".join(map(str, j)) for j in judgements())]
    (data / "judgements.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (root / "skillmatch.toml").write_text('encoder = "hashing"\n', "utf-8")
    return Workspace(root)


def use_toy_taxonomy() -> None:
    """Make the toy taxonomy the shipped one, in this process: a training takes a moment. For subprocesses."""
    Taxonomy.shipped = classmethod(lambda cls: taxonomy())  # type: ignore[assignment]
