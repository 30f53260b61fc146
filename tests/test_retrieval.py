"""Words, n-grams and indexes, against slow and plain versions of themselves."""

from __future__ import annotations

import math
import sys
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skillmatch import retrieval
from skillmatch.encoders import HashingEncoder
from skillmatch.errors import DamagedModelError
from skillmatch.retrieval import (
    BM25_B,
    BM25_K1,
    STOPWORDS,
    ItemIndex,
    Postings,
    Sparse,
    char_index,
    char_ngrams,
    fold,
    invert,
    load_array,
    name_code,
    raw_tokens,
    stem,
    take_rows,
    to_sparse,
    tokens,
    word_index,
    word_stems,
)

#: What people of a laboratory type, in both languages.
LETTERS = "abcdefghijklmnopqrstuvwxyzàâçéèêëîïôùûüÿœæ'’-–.+#/_&0123456789 ,;:()"
french = st.text(LETTERS, max_size=50)
quickly = settings(max_examples=80, deadline=None)


# --- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L'été à l’École", "l'ete a l'ecole"),
        ("Œuvre  Ægir\tStraße", "oeuvre aegir strasse"),
        ("pare–feu — pare‑feu", "pare-feu - pare-feu"),
        ("RÉSEAU", "reseau"),
        ("ﬁbre ²", "fibre 2"),
        ("e\u0301te\u0301", "ete"),
        ("", ""),
    ],
)
def test_fold(text, expected):
    assert fold(text) == expected


@given(st.text(max_size=60))
@quickly
def test_fold_twice_is_fold_once(text):
    once = fold(text)
    assert fold(once) == once
    assert once == once.strip()
    assert "  " not in once


@given(french)
@quickly
def test_capitals_and_missing_accents_change_nothing(text):
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    assert fold(text.upper()) == fold(text) == fold(bare)
    assert tokens(text.upper()) == tokens(text) == tokens(bare)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C++ et C#", ["c++", "et", "c#"]),
        ("C++17, C++ !", ["c++", "17", "c++"]),
        ("R, Go", ["r", "go"]),
        (".NET", [".net"]),
        ("TCP/IP", ["tcp", "ip"]),
        ("802.1X", ["802.1x"]),
        ("WinCC-OA", ["wincc", "oa"]),
        ("l'acquisition d’images", ["acquisition", "images"]),
        ("jusqu'au qu'il lorsqu'on", ["au", "il", "on"]),
        ("aujourd'hui", ["aujourd'hui"]),
        ("O'Brien", ["o'brien"]),
        ("R&D snake_case", ["r&d", "snake_case"]),
        ("Kubernetes.", ["kubernetes"]),
        ("!?… – ", []),
    ],
)
def test_tokens(text, expected):
    assert tokens(text) == expected


@given(french)
@quickly
def test_written_words_are_the_words_folded(text):
    assert [folded for _, folded in raw_tokens(text)] == tokens(text)
    assert [fold(written) for written, _ in raw_tokens(text)] == tokens(text)


def test_words_keep_how_they_were_written():
    assert raw_tokens("L’été, ROOT et AD") == [("été", "ete"), ("ROOT", "root"), ("et", "et"), ("AD", "ad")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("réseaux", "réseau"),
        ("sauvegardes", "sauvegarde"),
        ("conteneurs", "conteneur"),
        ("virtuelles", "virtuel"),
        ("stratégies", "stratégie"),
        ("storages", "storage"),
        ("databases", "database"),
        ("clusters", "cluster"),
        ("servers", "server"),
        ("drivers", "driver"),
        ("routers", "router"),
        ("triggers", "trigger"),
        ("policies", "policy"),
        ("queries", "query"),
        ("libraries", "library"),
    ],
)
def test_stems_meet(one, other):
    assert stem(fold(one)) == stem(fold(other))


@pytest.mark.parametrize("word", ["c++", "gpu", "ad", "802.1x", "ip"])
def test_names_have_no_stem(word):
    assert stem(word) == word


def test_stop_words_are_folded():
    assert {fold(w) for w in STOPWORDS} == STOPWORDS
    assert not STOPWORDS & {"c", "r", "go", "it-support", "ad", "root", "spark", "cloud"}


def test_codes_are_stable():
    """They stand in every stored index: another code is another format."""
    assert name_code("ceph") == 16225572001973156477
    assert len({name_code(str(i)) for i in range(2000)}) == 2000


# --- sparse rows --------------------------------------------------------------------------------------


def rows_of(sparse: Sparse) -> list[dict[int, float]]:
    return [
        dict(zip(sparse.indices[a:b].tolist(), sparse.values[a:b].tolist(), strict=True))
        for a, b in zip(sparse.indptr[:-1], sparse.indptr[1:], strict=True)
    ]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 15)), max_size=40))
@quickly
def test_to_sparse_counts(pairs):
    row, feature = (np.array([p[k] for p in pairs], dtype=np.int64) for k in (0, 1))
    sparse = to_sparse(row, feature, 5, 4)
    assert rows_of(sparse) == [dict(Counter(f for r, f in pairs if r == i)) for i in range(5)]
    assert all(np.all(np.diff(sparse.indices[a:b]) > 0) for a, b in pairwise(sparse.indptr))


def grams(text: str) -> Counter[str]:
    """Character 2- to 4-grams within words, a space at one end at most."""
    found: Counter[str] = Counter()
    for word in tokens(text):
        if word not in STOPWORDS:
            padded = f" {word} "
            every = (padded[i : i + n] for n in (2, 3, 4) for i in range(len(padded) - n + 1))
            found.update(g for g in every if not g[0] == g[-1] == " ")
    return found


@given(st.lists(french, max_size=5))
@quickly
def test_char_ngrams_are_those_within_words(texts):
    rows = rows_of(char_ngrams(texts, bits=30))  # so many bits that no two grams share a code
    assert [sorted(r.values()) for r in rows] == [sorted(map(float, grams(t).values())) for t in texts]


@given(st.lists(french, min_size=1, max_size=5), french)
@quickly
def test_a_texts_features_are_its_own(texts, other):
    """Whatever stands before or after it: nothing runs over from one text into the next."""
    for features in (char_ngrams, word_stems):
        together = rows_of(features([*texts, other, *texts]))
        assert together[len(texts)] == rows_of(features([other]))[0]


def test_blocks_of_texts_do_not_show():
    texts = [f"text {i}" for i in range(20_003)]
    rows = char_ngrams(texts)
    assert rows.rows == len(texts)
    for i in (0, 19_999, 20_000, 20_002):
        assert rows_of(take_rows(rows, np.array([i])))[0] == rows_of(char_ngrams([texts[i]]))[0]


def test_word_stems_leave_stop_words_out():
    both = word_stems(["le stockage Ceph et les sauvegardes", "stockages ceph sauvegarde", "le et les of the"])
    assert rows_of(both)[0] == rows_of(both)[1]
    assert len(rows_of(both)[0]) == 3
    assert rows_of(both)[2] == {}


@pytest.mark.parametrize("features", [char_ngrams, word_stems])
def test_no_texts_no_rows(features):
    assert features([]).rows == 0
    assert rows_of(features(["", "!", "le"])) == [{}, {}, {}]


@given(st.lists(french, min_size=1, max_size=6), st.data())
@quickly
def test_take_rows(texts, data):
    rows = word_stems(texts)
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8))
    taken = take_rows(rows, np.array(chosen, dtype=np.int64))
    assert rows_of(taken) == [rows_of(rows)[i] for i in chosen]


# --- the two text channels ----------------------------------------------------------------------------

CORPUS = [
    "Exploite le stockage Ceph du laboratoire",
    "Ceph, RADOS, stockage distribué",
    "CUDA kernels for track reconstruction",
    "Kalman filter",
    "le la les",
    "Windows domains and group policies, stockage des profils",
    "Ceph Ceph Ceph",
]
some_texts = st.lists(st.sampled_from([*CORPUS, "Ceph", "stockage", "unheard-of zyxwv", "réseau Cuda", ""]), max_size=4)


def slow_cosine(query: str, corpus: list[str]) -> list[float]:
    """TF-IDF cosine by the book; a gram unseen in the corpus counts as if in no item."""
    counts = [grams(t) for t in corpus]
    frequency = Counter(g for c in counts for g in c)
    n = len(corpus)

    def weigh(count: Counter[str]) -> dict[str, float]:
        return {g: (1 + math.log(c)) * (math.log((1 + n) / (1 + frequency[g])) + 1) for g, c in count.items()}

    def length(weights: dict[str, float]) -> float:
        return math.sqrt(sum(w * w for w in weights.values()))

    q = weigh(grams(query))
    out = []
    for c in counts:
        item = weigh(c)
        below = length(q) * length(item)
        out.append(sum(w * item.get(g, 0.0) for g, w in q.items()) / below if below else 0.0)
    return out


def dense_of(found: list[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    out = np.zeros((len(found), n), dtype=np.float32)
    for row, (items, scores) in zip(out, found, strict=True):
        row[items] = scores
    return out


@given(some_texts)
@settings(max_examples=40, deadline=None)
def test_chars_channel_is_the_cosine_of_tf_idf(queries):
    index = char_index(char_ngrams(CORPUS))
    got = dense_of(index.query(char_ngrams(queries), "cosine"), len(CORPUS))
    want = np.array([slow_cosine(q, CORPUS) for q in queries]).reshape(len(queries), len(CORPUS))
    assert np.allclose(got, want, atol=1e-5)


def test_a_text_is_nearest_to_itself():
    index = char_index(char_ngrams(CORPUS))
    got = dense_of(index.query(char_ngrams(CORPUS), "cosine"), len(CORPUS))
    for i, text in enumerate(CORPUS):
        if any(t not in STOPWORDS for t in tokens(text)):
            assert got[i, i] == pytest.approx(1, abs=1e-5)
            assert got[i].argmax() == i


def test_unknown_words_lower_the_cosine():
    index = char_index(char_ngrams(CORPUS))
    plain, diluted = (index.query(char_ngrams([t]), "cosine")[0][1].max() for t in ("Ceph", "Ceph zyxwv"))
    assert diluted < plain


@given(some_texts)
@settings(max_examples=40, deadline=None)
def test_words_channel_is_bm25(queries):
    index = word_index(word_stems(CORPUS))
    counts = [Counter(stem(t) for t in tokens(text) if t not in STOPWORDS) for text in CORPUS]
    frequency = Counter(w for c in counts for w in c)
    n, average = len(CORPUS), sum(c.total() for c in counts) / len(CORPUS)

    def idf(word: str) -> float:
        return math.log(1 + (n - frequency[word] + 0.5) / (frequency[word] + 0.5))

    def score(query: str, c: Counter[str]) -> float:
        scale = BM25_K1 * (1 - BM25_B + BM25_B * c.total() / average)
        words = {stem(t) for t in tokens(query) if t not in STOPWORDS}
        return sum(idf(w) * c[w] * (BM25_K1 + 1) / (c[w] + scale) for w in words if c[w])

    got = dense_of(index.query(word_stems(queries), "idf"), n)
    want = np.array([[score(q, c) for c in counts] for q in queries]).reshape(len(queries), n)
    assert np.allclose(got, want, atol=1e-5)
    rows = word_stems(queries)
    for q, query in enumerate(queries):
        words = {stem(t) for t in tokens(query) if t not in STOPWORDS}
        # A word nobody has weighs as one found in no item.
        assert index.ceiling(rows, q) == pytest.approx(sum(map(idf, words)), rel=0.1, abs=1e-5)


def test_an_index_of_nothing_answers_nothing():
    for texts in (["le", "!"], ["", ""]):
        for index, rows, weight in (
            (char_index(char_ngrams(texts)), char_ngrams(["ceph"]), "cosine"),
            (word_index(word_stems(texts)), word_stems(["ceph"]), "idf"),
        ):
            ((items, scores),) = index.query(rows, weight)
            assert len(items) == len(scores) == 0


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32 - 1))
@quickly
def test_dense_is_a_matrix_product(n_items, n_features, seed):
    rng = np.random.default_rng(seed)
    items = (rng.random((n_items, n_features)) * (rng.random((n_items, n_features)) < 0.5)).astype(np.float32)
    queries = (rng.random((3, n_features)) * (rng.random((3, n_features)) < 0.5)).astype(np.float32)

    def sparse(matrix: np.ndarray) -> Sparse:
        row, column = np.nonzero(matrix)
        indptr = np.searchsorted(row, np.arange(len(matrix) + 1))
        return Sparse(indptr, column.astype(np.int32), matrix[row, column])

    index = invert(sparse(items), sparse(items).values, n_features)
    assert np.allclose(index.dense(sparse(queries)), queries @ items.T, atol=1e-5)


@given(st.integers(0, 12), st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32 - 1))
@quickly
def test_many_rows_are_added_up_as_few_are_to_the_last_bit(rows, n_items, n_features, seed):
    rng = np.random.default_rng(seed)

    def sparse(n: int) -> Sparse:
        matrix = (rng.standard_normal((n, n_features)) * (rng.random((n, n_features)) < 0.6)).astype(np.float32)
        row, column = np.nonzero(matrix)
        return Sparse(np.searchsorted(row, np.arange(n + 1)), column.astype(np.int32), matrix[row, column])

    items, queries = sparse(n_items), sparse(rows)
    index = invert(items, items.values, n_features)
    with pytest.MonkeyPatch.context() as patch:
        few = index.dense(queries)
        patch.setattr(retrieval, "WORTH_SCIPY", 0)
        assert np.array_equal(index.dense(queries), few)


def test_postings_come_back_from_disk(tmp_path):
    index = char_index(char_ngrams(CORPUS))
    index.save(tmp_path, "chars")
    again = Postings.load(tmp_path, "chars", index.n_items)
    queries = char_ngrams(["Ceph storage", "nobody"])
    for (a, b), (c, d) in zip(index.query(queries, "cosine"), again.query(queries, "cosine"), strict=True):
        assert np.array_equal(a, c)
        assert np.array_equal(b, d)
    assert isinstance(again.weights, np.memmap)


def test_an_array_that_could_run_something_is_refused(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([print], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "short.npy", np.arange(100))
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-8])
    for name in ("evil", "text", "short", "missing"):
        with pytest.raises(DamagedModelError, match=f"{name}.npy") as told:
            load_array(tmp_path / f"{name}.npy")
        assert "skillmatch train" in told.value.hint


# --- people and their items ---------------------------------------------------------------------------


def index_of(texts: list[str], owner: list[int]) -> ItemIndex:
    return ItemIndex.build(texts, HashingEncoder(64).encode(texts), np.array(owner), max(owner) + 1)


@pytest.mark.parametrize(
    ("texts", "owner", "people", "said"),
    [
        (["a", "b"], [0], 1, "don't agree"),
        (["a"], [0, 0], 1, "don't agree"),
        (["a", "b"], [1, 0], 2, "ascending"),
        (["a", "b"], [0, 2], 3, "every person"),
        (["a"], [0], 2, "every person"),
        (["a", "b"], [0, 1], 1, "every person"),
    ],
)
def test_what_does_not_fit_together_is_refused(texts, owner, people, said):
    with pytest.raises(ValueError, match=said):
        ItemIndex.build(texts, HashingEncoder(64).encode(texts), np.array(owner, dtype=np.int64), people)


@st.composite
def values_by_owner(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    numbers = st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.75, 1.0, -0.25])
    return [draw(st.lists(numbers, min_size=n, max_size=n)) for n in sizes]


@given(values_by_owner())
@quickly
def test_best_of_each_person(people):
    owner = [i for i, own in enumerate(people) for _ in own]
    values = np.array([v for own in people for v in own], dtype=np.float32)
    index = index_of(["x"] * len(owner), owner)
    assert index.best(values).tolist() == [max(own) for own in people]
    best, where = index.best_where(values)
    assert best.tolist() == [max(own) for own in people]
    starts = np.cumsum([0, *map(len, people)])
    assert where.tolist() == [int(s) + own.index(max(own)) for s, own in zip(starts, people, strict=False)]


@given(values_by_owner(), st.integers(1, 4))
@quickly
def test_best_few_is_the_mean_of_the_best(people, few):
    """Of those with as many items; whoever has fewer is another matter, below."""
    assume(all(len(own) >= few for own in people))
    owner = [i for i, own in enumerate(people) for _ in own]
    values = np.array([v for own in people for v in own], dtype=np.float32)
    want = [sum(max(v, 0) for v in sorted(own, reverse=True)[:few]) / few for own in people]
    assert np.allclose(index_of(["x"] * len(owner), owner).best_few(values, few), want)


@given(values_by_owner(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
@quickly
def test_one_more_item_never_lowers_the_best_few(people, more):
    """A thin profile must not outrank itself with more in it: what is missing is no match."""
    assume(all(v >= 0 for own in people for v in own))

    def few(own: list[list[float]]) -> np.ndarray:
        owner = [i for i, values in enumerate(own) for _ in values]
        values = np.array([v for values in own for v in values], dtype=np.float32)
        return index_of(["x"] * len(owner), owner).best_few(values)

    assert np.all(few([[*people[0], more], *people[1:]]) >= few(people) - 1e-6)


def test_channels():
    texts = ["Ceph storage", "CUDA kernels", "welding of steel"]
    index = index_of(texts, [0, 0, 1])
    queries = ["Ceph storage", "kernels CUDA", "zyxwv", ""]
    dense, words = index.channels(HashingEncoder(64).encode(queries), queries)
    for channel in (dense, words):
        assert channel.shape == (4, 3)
        assert channel.dtype == np.float32
        assert np.isfinite(channel).all()
        assert channel[0].argmax() == 0
        assert channel[1].argmax() == 1
    assert not words[2:].any()
    # Half of the words found is a smaller share than all of them.
    _, half = index.channels(HashingEncoder(64).encode(["Ceph zyxwv"]), ["Ceph zyxwv"])
    assert 0 < half[0, 0] < words[0, 0]


def test_each_query_is_answered_by_itself():
    texts = ["Ceph storage", "CUDA kernels", "welding of steel"]
    index = index_of(texts, [0, 1, 2])
    queries = ["storage", "steel cuda", "nothing at all"]
    together = index.channels(HashingEncoder(64).encode(queries), queries)
    for q, query in enumerate(queries):
        alone = index.channels(HashingEncoder(64).encode([query]), [query])
        for a, b in zip(together, alone, strict=True):
            assert np.allclose(a[q], b[0], atol=1e-6)


ENDINGS = ("ing", "ation", "ations", "er", "eurs", "ement", "ization", "ive", "able", "aient", "e", "ed", "isme", "ité")


def test_threads_stem_as_one_does():
    """The stemmers hold the word they are at: two threads must not share them."""
    words = [f"{a}{b}" for a in ("monitor", "simulat", "configur", "synchronis", "vectoris") for b in ENDINGS]
    alone = [retrieval.stem.__wrapped__(w) for w in words]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: [retrieval.stem.__wrapped__(w) for w in words], range(24)))
    finally:
        sys.setswitchinterval(before)
    assert all(one == alone for one in found)
