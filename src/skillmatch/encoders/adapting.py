"""An encoder that learns French: a copy that places a text where the original places its English twin."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .models import Encoder, Vectors, fingerprint_of, source_folder

#: One epoch of AdamW at this rate, warmed up over the first tenth, then falling to nothing.
_RATE, _BATCH = 1e-4, 64
#: Seconds between two checkpoints of an adaptation.
_CHECKPOINT_EVERY = 60.0


def adapt_encoder(
    name: str,
    encoders_dir: Path,
    twins: Sequence[tuple[str, str]],
    base: Encoder,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Path:
    """A copy of the encoder ``name`` that places a text where ``base`` (the same encoder) places its twin.

    ``twins``: (text, twin), as French and English say the same; the twins themselves are held where they are, so that
    English stays what it was (Reimers and Gurevych 2020, "Making monolingual sentence embeddings multilingual").
    ``progress``: (steps done, steps in all). An interrupted adaptation goes on from its last checkpoint. Returns a
    sentence-transformers folder under ``encoders_dir``, made at most once for the same encoder, twins and seed.
    """
    source = source_folder(name)
    told = json.dumps([fingerprint_of(source), seed, _RATE, _BATCH, [list(t) for t in twins]], ensure_ascii=False)
    key = hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
    folder = encoders_dir / f"adapted-{key}"
    if folder.is_dir():
        return folder
    held = list(dict.fromkeys(twin for _, twin in twins))
    texts = [*(text for text, _ in twins), *held]
    vectors = base.encode(held)
    place = {text: i for i, text in enumerate(held)}
    targets = vectors[[*(place[twin] for _, twin in twins), *range(len(held))]]
    encoders_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = encoders_dir / f".adapting-{key}.safetensors"
    temporary = Path(tempfile.mkdtemp(prefix=".adapted-", dir=encoders_dir))
    try:
        _fine_tune(source, texts, targets, checkpoint, seed, progress).save(str(temporary))
        temporary.chmod(0o755)
        temporary.rename(folder)
        checkpoint.unlink(missing_ok=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _fine_tune(
    source: Path,
    texts: Sequence[str],
    targets: Vectors,
    checkpoint: Path,
    seed: int,
    progress: Callable[[int, int], None],
) -> Any:
    """The sentence-transformers model in ``source`` after one epoch towards ``targets``, by cosine."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import time

    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(source), device="cpu", local_files_only=True)
    model.eval()  # without dropout: vectors are imitated exactly, and the same seed gives the same model
    batches = _batches_of_like_length(texts, seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_RATE, fused=True)
    warm = max(len(batches) // 10, 1)
    done = _resumed(checkpoint, model, optimiser)
    prompt = dict(model.prompts or {}).get("passage", "")
    kept = time.monotonic()
    for step in range(done, len(batches)):
        progress(step, len(batches))
        rows = batches[step]
        inputs = model.tokenizer(
            [prompt + texts[i] for i in rows],
            padding=True,
            truncation=True,
            max_length=model.max_seq_length,
            return_tensors="pt",
        )
        out = torch.nn.functional.normalize(model(dict(inputs))["sentence_embedding"], dim=1)
        loss = (1 - (out * torch.from_numpy(targets[rows])).sum(dim=1)).mean()
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min((step + 1) / warm, (len(batches) - step) / max(len(batches) - warm, 1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if time.monotonic() - kept > _CHECKPOINT_EVERY:
            _keep(checkpoint, model, optimiser, step + 1)
            kept = time.monotonic()
    progress(len(batches), len(batches))
    return model


def _keep(checkpoint: Path, model: Any, optimiser: Any, done: int) -> None:
    """Write where an adaptation is, in one step: plain tensors, which run nothing when they are opened."""
    from safetensors.torch import save_file

    tensors = {f"model {name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for place, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"moment {place} {name}": tensor.contiguous() for name, tensor in moments.items()}
    beside = checkpoint.with_suffix(".new")
    save_file(tensors, beside, {"done": str(done)})
    beside.replace(checkpoint)


def _resumed(checkpoint: Path, model: Any, optimiser: Any) -> int:
    """The steps that were done before; model and optimiser as they were then. 0 where there is no whole checkpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
            done = int(file.metadata()["done"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return 0
    model.load_state_dict({n.removeprefix("model "): t for n, t in tensors.items() if n.startswith("model ")})
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("moment "):
            _, place, moment = name.split()
            state.setdefault(int(place), {})[moment] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return done


def _batches_of_like_length(texts: Sequence[str], seed: int) -> list[NDArray[np.int64]]:
    """Batches in random order, each of texts of about one length: hardly any padding."""
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(texts))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(mixed), _BATCH * 16):
        pool = mixed[start : start + _BATCH * 16]
        pool = pool[np.argsort([len(texts[i]) for i in pool], kind="stable")]
        batches += [pool[k : k + _BATCH] for k in range(0, len(pool), _BATCH)]
    return [batches[i] for i in rng.permutation(len(batches))]
