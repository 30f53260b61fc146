"""Any text to ranked skills: exact labels first, twins shown as published, an order that never wavers, a kept index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from skillmatch.encoders import CachedEncoder, Encoder, HashingEncoder
from skillmatch.errors import DamagedModelError, DataError, ModelError
from skillmatch.taxonomy import Concept, Taxonomy
from skillmatch.taxonomy.imports import LICENCES, Download
from skillmatch.taxonomy.known import label_index
from skillmatch.taxonomy.lexicon import Lexicon
from skillmatch.taxonomy.linking import FEATURES, LabelIndex, Views
from skillmatch.taxonomy.merging import Merged, merge, remove_import, write_import
from toy_world import ENCODER, TRADES, models, taxonomy

OWN = Taxonomy(
    [
        Concept(
            "ml",
            "machine learning",
            "apprentissage automatique",
            ("statistical learning",),
            names=("ML", "scikit-learn"),
        ),
        Concept("deep", "deep learning", "apprentissage profond", broader=("ml",)),
        Concept(
            "daq", "data acquisition", "acquisition de données", aliases_fr=("chaîne d'acquisition",), names=("DAQ",)
        ),
        Concept("fiber", "optical fibre links", "liaisons par fibre optique", aliases_en=("fiber-optic links",)),
        Concept("cpp", "C++ development", "développement C++", names=("C++",)),
        Concept("c", "C development", "développement en C", names=("C",)),
        Concept("on-call", "on-call duty", "astreinte d'été", aliases_fr=("l'astreinte",)),
        Concept("storage", "storage", "stockage"),
        Concept("backups", "storage and backups", "stockage et sauvegardes"),
    ]
)


@pytest.fixture(scope="module")
def index() -> LabelIndex:
    return LabelIndex.fit(OWN, ENCODER)


def first(index: LabelIndex, text: str, top: int = 3) -> list[str]:
    (found,) = index.link([text], ENCODER, top)
    return [index.entries[i].id for i, _ in found]


# --- exact wordings -----------------------------------------------------------------------------------


def test_every_label_in_either_language_is_first(index):
    for concept in OWN.concepts:
        for label in (concept.label_en, concept.label_fr):
            assert first(index, label)[0] == concept.id, label


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("MACHINE LEARNING", "ml"),
        ("machine-learning", "ml"),
        ("Machine‑Learning.", "ml"),
        ("  apprentissage   automatique ", "ml"),
        ("l'apprentissage automatique", "ml"),
        ("L’APPRENTISSAGE AUTOMATIQUE", "ml"),
        ("ml", "ml"),
        ("acquisition de donnees", "daq"),
        ("Acquisition de DONNÉES", "daq"),
        ("CHAINE D`ACQUISITION", "daq"),
        ("chaîne d’acquisition", "daq"),
        ("fiber optic links", "fiber"),
        ("ASTREINTE D'ETE", "on-call"),
        ("on call duty", "on-call"),
        ("c++", "cpp"),
        ("C", "c"),
        ("Stockage", "storage"),
    ],
)
def test_case_accents_hyphens_and_apostrophes_make_no_difference(index, text, concept):
    (found,) = index.link([text], ENCODER, 3)
    assert index.entries[found[0][0]].id == concept
    assert found[0][1] >= 0.9


def test_a_label_goes_before_an_alias_of_the_same():
    labels = [Concept("a", "object storage", "x"), Concept("b", "Ceph", "y", aliases_en=("object storage",))]
    for order in (labels, labels[::-1]):
        renamed = [Concept(f"{k}{c.id}", c.label_en, c.label_fr, c.aliases_en) for k, c in enumerate(order)]
        found = first(LabelIndex.fit(Taxonomy(renamed), ENCODER), "Object Storage", 2)
        assert [name[1] for name in found] == ["a", "b"]


# --- the order ----------------------------------------------------------------------------------------


def test_scores_fall_and_are_probabilities(index):
    for found in index.link(["apprentissage profond sur GPU", "storage", "?!", "qwertz", "a" * 5000], ENCODER, 100):
        scores = [s for _, s in found]
        assert len(found) == len(OWN)
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= s <= 1 for s in scores)
        assert len({i for i, _ in found}) == len(OWN)


def test_top_is_the_beginning_of_everything(index):
    (everything,) = index.link(["deep learning for data acquisition"], ENCODER, 100)
    for top in (1, 3, 9):
        assert index.link(["deep learning for data acquisition"], ENCODER, top) == [everything[:top]]


def test_ties_go_by_place_and_texts_do_not_touch_each_other():
    equal = Taxonomy([Concept(f"same-{k}", "storage of tapes", "", source="csv") for k in range(5)])
    index = LabelIndex.fit(equal, ENCODER)
    texts = ["tapes", "storage of tapes", "tape storage"]
    together = index.link(texts, ENCODER, 5)
    assert together == [index.link([t], ENCODER, 5)[0] for t in texts]
    assert [[i for i, _ in found] for found in together] == [[0, 1, 2, 3, 4]] * 3
    assert index.link(texts * 50, ENCODER, 5) == together * 50  # more than one block


def test_the_order_of_concepts_in_files_does_not_matter(index):
    again = LabelIndex.fit(Taxonomy(reversed(OWN.concepts)), ENCODER)
    texts = ["learning from data", "chaîne d'acquisition et stockage"]
    assert again.link(texts, ENCODER, 9) == index.link(texts, ENCODER, 9)


def test_features_are_of_the_ranges_they_promise(index):
    (features,) = index.features(["acquisition de données et stockage"], ENCODER)
    assert features.shape == (len(OWN), len(FEATURES))
    assert np.isfinite(features).all()
    assert (features[:, FEATURES.index("meaning") :] >= -1.001).all()
    assert (features <= 1.001).all()
    daq = OWN.index["daq"]
    assert features[daq, FEATURES.index("covered")] == pytest.approx(1, abs=1e-5)


def test_the_classifier_has_its_say():
    index = LabelIndex.fit(taxonomy(), ENCODER)
    text = "Marier deux domaines Windows et leurs comptes"
    model, _ = models()
    ids = [c.id for c in taxonomy().concepts]
    place = [e.id for e in index.entries].index("directory")
    with_it = dict(index.link([text], ENCODER, 99, model=model, concepts=ids)[0])
    without = dict(index.link([text], ENCODER, 99)[0])
    assert with_it[place] > without[place]
    assert max(with_it, key=with_it.__getitem__) == place


def test_long_texts_are_thinned_not_cut():
    text = "stockage " + " ".join(f"mot{k}" for k in range(500)) + " apprentissage automatique"
    views = Views.of(text, Lexicon({}, {}, {}))
    assert len(views.windows) <= 120
    assert any("apprentissage" in w for w in views.windows)
    assert views.long == 1


# --- what was imported --------------------------------------------------------------------------------


def imported(id_: str, en: str = "", fr: str = "", source: str = "esco", uri: str = "") -> Concept:
    return Concept(id_, en, fr, uri=uri, source=source, licence="CC BY 4.0")


def test_a_twin_is_shown_as_it_was_published():
    twin = imported("esco-ml", "Machine Learning (subject)", "apprentissage machine", uri="http://x/1")
    index = LabelIndex.fit(merge(OWN, [twin]), ENCODER)
    entry = next(e for e in index.entries if e.concept == "ml")
    assert (entry.id, entry.label_en, entry.label_fr) == ("esco-ml", twin.label_en, twin.label_fr)
    assert (entry.uri, entry.source) == ("http://x/1", "esco")
    assert len(index.entries) == len(OWN)
    for text in (*OWN["ml"].wordings(), *twin.wordings(), "machine learning"):
        assert first(index, text)[0] == "esco-ml", text


def test_an_english_skill_is_found_by_the_french_that_we_know():
    batch = [imported("csv-ml", "machine learning", source="csv"), imported("csv-tea", "brew tea", source="csv")]
    index = LabelIndex.fit(merge(OWN, batch), ENCODER)
    assert first(index, "Apprentissage automatique")[0] == "csv-ml"
    assert next(e for e in index.entries if e.id == "csv-ml").label_fr == "apprentissage automatique"


def test_french_meets_english_through_the_lexicon():
    pairs = [("acquisition de données", "data acquisition"), ("stockage de données", "data storage")] * 4
    pairs += [("stockage", "storage"), ("acquisition", "acquisition"), ("données", "data")] * 4
    lexicon = Lexicon.learn(pairs)
    assert lexicon.gloss("le stockage des données") == "storage data"
    english = [imported("a", "storage of data"), imported("b", "dates of storms"), imported("c", "welding")]
    index = LabelIndex.fit(Taxonomy(english), ENCODER, lexicon=lexicon)
    assert first(index, "stockage des données")[0] == "a"


def test_skills_of_several_publishers_keep_their_addresses():
    batch = [imported("esco-ml", "machine learning", uri="u1"), imported("onet-ml", "Machine learning", source="onet")]
    index = LabelIndex.fit(merge(OWN, batch), ENCODER)
    assert {e.id for e in index.entries if e.concept == "ml"} == {"esco-ml", "onet-ml"}
    assert set(first(index, "machine learning", 2)) == {"esco-ml", "onet-ml"}


def test_a_skill_merged_by_an_alias_keeps_an_entry_of_its_own():
    index = LabelIndex.fit(merge(OWN, [imported("x", "statistical learning")]), ENCODER)
    assert {"x", "ml"} <= {e.id for e in index.entries}
    assert first(index, "statistical learning", 1) == ["x"]
    assert first(index, "machine learning", 1) == ["ml"]


def test_nothing_can_not_be_indexed():
    with pytest.raises(ValueError, match="without concepts"):
        LabelIndex.fit(Merged(Taxonomy([])), ENCODER)


# --- kept on disk -------------------------------------------------------------------------------------


class Counting(HashingEncoder):
    """How many texts were embedded, and which."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], *more: object, **named: object):  # type: ignore[no-untyped-def]
        self.asked += texts
        return super().encode(texts, *more, **named)  # type: ignore[arg-type]


def kept(root: Path, encoder: Encoder = ENCODER, own: Taxonomy = OWN) -> LabelIndex:
    return label_index(root / "models", root / "data", own, encoder)


def add(root: Path, *concepts: Concept, kind: str = "csv") -> None:
    write_import(root / "data", Download(kind, LICENCES[kind], concepts, len(concepts), 0, ()), OWN)


def folders(root: Path) -> list[Path]:
    return sorted((root / "models" / "cache").glob("labels-*"))


TEXTS = ["apprentissage automatique", "learning to acquire data", "fibre"]


def test_a_saved_index_answers_the_same(index, tmp_path):
    index.save(tmp_path)
    opened = LabelIndex.load(tmp_path)
    assert opened.entries == index.entries
    assert opened.link(TEXTS, ENCODER, 9) == index.link(TEXTS, ENCODER, 9)


def test_any_damage_is_noticed(index, tmp_path):
    index.save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for broken in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", None):
            path.unlink()
            if broken is not None:
                path.write_bytes(broken)
            with pytest.raises(DamagedModelError):
                LabelIndex.load(tmp_path)
            path.write_bytes(whole)
    for content in ("[]", "{}", '{"files": {}}', '{"files": {"../x": "y"}, "items": 1}'):
        (tmp_path / "labels.json").write_text(content, "utf-8")
        with pytest.raises(DamagedModelError):
            LabelIndex.load(tmp_path)


def test_it_is_made_once_and_anew_where_it_was_damaged(tmp_path):
    encoder = Counting()
    told: list[tuple[int, int]] = []
    made = label_index(tmp_path / "models", tmp_path / "data", OWN, encoder, lambda n, of: told.append((n, of)))
    assert told[0] == (0, told[-1][1])
    assert told[-1][0] == told[-1][1] > len(OWN)
    (folder,) = folders(tmp_path)
    encoder.asked.clear()
    assert kept(tmp_path, encoder).link(TEXTS, ENCODER, 9) == made.link(TEXTS, ENCODER, 9)
    assert encoder.asked == []
    whole = {p.name: p.read_bytes() for p in folder.iterdir()}
    (folder / "labels_vectors.npy").write_bytes(b"damaged")
    kept(tmp_path, encoder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == whole
    assert encoder.asked == []  # the vectors were remembered
    assert [p for p in folder.parent.iterdir() if p.name.startswith(".labels")] == []


def test_an_import_gives_another_index_and_undo_the_one_before(tmp_path):
    before = kept(tmp_path)
    (old,) = folders(tmp_path)
    add(tmp_path, imported("csv-tea", "brew tea", source="csv"))
    with_tea = kept(tmp_path)
    assert len(with_tea.entries) == len(before.entries) + 1
    assert first(with_tea, "brew tea")[0] == "csv-tea"
    assert len(folders(tmp_path)) == 2
    remove_import(tmp_path / "data", "csv")
    assert len(kept(tmp_path).entries) == len(before.entries)
    assert old in folders(tmp_path)
    for k in range(3):
        add(tmp_path, imported("csv-more", f"more {k}", source="csv"))
        kept(tmp_path)
    assert len(folders(tmp_path)) == 2


def test_another_taxonomy_or_encoder_is_another_index(tmp_path):
    kept(tmp_path)
    kept(tmp_path, HashingEncoder(64))
    assert len(folders(tmp_path)) == 2
    kept(tmp_path, own=Taxonomy(OWN.concepts[1:]))
    assert len({p.name for p in folders(tmp_path)}) == 2


def test_what_is_asked_is_never_kept(tmp_path):
    index = kept(tmp_path)
    path = tmp_path / "models" / "cache" / f"{ENCODER.fingerprint}.sqlite"
    before = path.read_bytes()
    index.link(["what nobody should ever know"], ENCODER, 3)
    assert path.read_bytes() == before
    assert CachedEncoder(ENCODER, path).forget(["what nobody should ever know"]) == 0


def test_a_damaged_import_is_told_before_anything_is_made(tmp_path):
    add(tmp_path, imported("csv-tea", "brew tea", source="csv"))
    (tmp_path / "data" / "taxonomies" / "csv.jsonl").write_text("{}\n", "utf-8")
    with pytest.raises(DataError, match=r"csv\.jsonl"):
        kept(tmp_path)
    assert folders(tmp_path) == []


def test_where_it_can_not_be_written(tmp_path):
    (tmp_path / "models").write_text("a file", "utf-8")
    with pytest.raises(ModelError, match="can't be written") as caught:
        kept(tmp_path)
    assert "skillmatch train" in caught.value.hint


def test_the_shipped_weights_are_complete_and_never_negative():
    from importlib import resources

    data = json.loads(resources.files("skillmatch").joinpath("data/linking.json").read_text("utf-8"))
    for kind in ("short", "long"):
        assert tuple(data[kind]) == FEATURES
        assert all(w >= 0 for w in data[kind].values())
    assert data["slope"] > 0


def test_the_toy_trades_are_found_in_both_languages():
    index = LabelIndex.fit(taxonomy(), ENCODER)
    for trade in TRADES:
        concept = taxonomy()[trade]
        for text in (f"need help with {concept.label_en}", f"besoin d'aide : {concept.label_fr}"):
            assert first(index, text, 1) == [trade], text
