"""French read word by word beside an encoder of English."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import toy_world as toy
from skillmatch.encoders import CachedEncoder, HashingEncoder
from skillmatch.matcher import LEXICON, Matcher, Options
from skillmatch.taxonomy import Taxonomy
from skillmatch.taxonomy.lexicon import GlossedEncoder, Lexicon, plain, reading_french
from skillmatch.training.running import bilingual


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon.of(Taxonomy.shipped())


@pytest.fixture(scope="module")
def glossed(lexicon) -> GlossedEncoder:
    return GlossedEncoder(HashingEncoder(), lexicon)


def test_the_share_of_french_words(lexicon):
    for text, least, most in (
        ("Exploiter le stockage et la sauvegarde du réseau", 0.6, 1.0),
        ("operate the storage and the backup of the network", 0.0, 0.1),
        ("CUDA", 0.0, 0.0),
        ("", 0.0, 0.0),
        ("Sauvegarde du stockage, then network operations for the experiment", 0.1, 0.9),
    ):
        gloss, share = lexicon.read(text)
        assert least <= share <= most, text
        assert gloss == lexicon.gloss(text)


def test_french_comes_nearer_to_english(glossed):
    """Whatever the encoder: even one that knows letters alone."""
    french = ["Exploiter le stockage et la sauvegarde", "Sécurité du réseau", "apprentissage automatique"]
    english = ["Operate the storage and the backup", "Network security", "machine learning"]
    before = (glossed.inner.encode(french) * glossed.inner.encode(english)).sum(axis=1)
    after = (glossed.encode(french) * glossed.encode(english)).sum(axis=1)
    assert (after > before + 0.1).all()


def test_english_keeps_its_vectors(glossed):
    texts = ["Tune the Ceph cluster", "Port the simulation to GPUs", "CUDA, Kokkos", ""]
    assert np.array_equal(glossed.encode(texts), glossed.inner.encode(texts))


def test_the_contract_of_encoders(glossed):
    texts = ["Exploiter le stockage", "Operate the storage", "réseau", ""]
    vectors = glossed.encode(texts, "query")
    assert (vectors.dtype, vectors.shape) == (np.float32, (4, glossed.dim))
    assert np.allclose(np.linalg.norm(vectors[:3], axis=1), 1, atol=1e-5)
    told: list[int] = []
    again = glossed.encode(texts[::-1], "query", told.append)[::-1]
    assert np.allclose(vectors, again, atol=1e-6)
    assert sum(told) == len(texts)


def test_the_fingerprint_is_of_both(glossed, lexicon):
    other = GlossedEncoder(HashingEncoder(), replace(lexicon, words={**lexicon.words, "zzz": "other"}))
    assert glossed.fingerprint != other.fingerprint
    assert glossed.fingerprint != HashingEncoder().fingerprint
    assert glossed.fingerprint == GlossedEncoder(HashingEncoder(), lexicon).fingerprint
    assert plain(glossed).fingerprint == HashingEncoder().fingerprint
    assert plain(plain(glossed)) is glossed.inner


class Polyglot(HashingEncoder):
    """It knows every label of the toy taxonomy in both languages."""

    def encode(self, texts, kind="passage", progress=None):
        english = {c.label_fr: c.label_en for c in toy.taxonomy().concepts}
        return super().encode([english.get(t, t) for t in texts], kind, progress)


def test_who_knows_french_needs_no_lexicon(lexicon):
    assert isinstance(reading_french(HashingEncoder(), toy.taxonomy(), lexicon), GlossedEncoder)
    polyglot = Polyglot()
    assert reading_french(polyglot, toy.taxonomy(), lexicon) is polyglot


class English:
    """No hashing encoder by its class, and no French."""

    dim, fingerprint = 256, "english"

    def encode(self, texts, kind="passage", progress=None):
        return HashingEncoder().encode(texts, kind, progress)


def test_a_workspace_keeps_its_lexicon(tmp_path):
    cached = CachedEncoder(English(), tmp_path / "v.sqlite")
    first = bilingual(tmp_path / "cache", toy.taxonomy(), cached)
    assert isinstance(first, GlossedEncoder)
    (kept,) = (tmp_path / "cache").iterdir()
    before = kept.stat().st_mtime_ns
    assert bilingual(tmp_path / "cache", toy.taxonomy(), cached).fingerprint == first.fingerprint
    assert kept.stat().st_mtime_ns == before
    (kept / "lexicon.json").write_bytes((kept / "lexicon.json").read_bytes()[:100])
    assert bilingual(tmp_path / "cache", toy.taxonomy(), cached).fingerprint == first.fingerprint
    for_trials = CachedEncoder(HashingEncoder(), tmp_path / "w.sqlite")
    assert bilingual(tmp_path / "cache", toy.taxonomy(), for_trials) is for_trials


def test_a_version_reads_french_as_its_training_did(tmp_path, lexicon):
    m = toy.matcher(toy.people())
    encoder = GlossedEncoder(toy.ENCODER, lexicon)
    model, levels = toy.models()
    made = Matcher.fit(toy.people(), toy.taxonomy(), encoder, model, levels)
    (tmp_path / "v").mkdir()
    made.save(tmp_path / "v")
    assert (tmp_path / "v" / LEXICON).is_file()
    opened = Matcher.load(tmp_path / "v", "", toy.ENCODER)
    assert opened.encoder.fingerprint == encoder.fingerprint
    for text in ("Exploiter le stockage et la sauvegarde", "Operate an object storage"):
        want, got = (x.match(text, Options(top=None)) for x in (made, opened))
        assert [(a.profile.id, a.raw) for a in want.matches] == [(a.profile.id, a.raw) for a in got.matches]
    (tmp_path / "w").mkdir()
    m.save(tmp_path / "w")
    assert not (tmp_path / "w" / LEXICON).exists()
