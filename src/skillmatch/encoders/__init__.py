"""Text to unit vectors. One small Protocol; heavy libraries are imported inside the functions that need them.

``models`` exports any sentence-transformers model as ONNX once and answers with onnxruntime alone, with a cache on
disk; ``spreading`` does the same work on other machines; ``adapting`` teaches a model French.
"""

from .adapting import adapt_encoder
from .models import (
    DEFAULT_ENCODER,
    DEFAULT_WEIGHTS_SHA256,
    EXPORT_FORMAT,
    HASHING,
    WEIGHTS,
    CachedEncoder,
    Embed,
    Encoder,
    HashingEncoder,
    Kind,
    OnnxEncoder,
    Progress,
    Vectors,
    export_encoder,
    file_sha256,
    fingerprint_of,
    open_encoder,
    resolve_encoder,
    source_folder,
    text_key,
    unit,
    write_info,
)
from .spreading import spread_over

__all__ = [
    "DEFAULT_ENCODER",
    "DEFAULT_WEIGHTS_SHA256",
    "EXPORT_FORMAT",
    "HASHING",
    "WEIGHTS",
    "CachedEncoder",
    "Embed",
    "Encoder",
    "HashingEncoder",
    "Kind",
    "OnnxEncoder",
    "Progress",
    "Vectors",
    "adapt_encoder",
    "export_encoder",
    "file_sha256",
    "fingerprint_of",
    "open_encoder",
    "resolve_encoder",
    "source_folder",
    "spread_over",
    "text_key",
    "unit",
    "write_info",
]
