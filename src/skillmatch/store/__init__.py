"""The versions under ``models/``: digests, promote, rollback, prune. Knows files, not what is in them.

::

    models/CURRENT                one version id and a newline
    models/history.jsonl          one JSON line an event: trained, promoted, rolled-back, pruned
    models/versions/<id>/         immutable: manifest.json and the files it lists
    models/.lock                  held by whoever changes anything here; freed by the kernel when they die

    files.py      append, replace, lock, sync: what a killed process can't leave half done
    locks.py      one process at a time
    formats.py    what a manifest and a history line must be
    sealed.py     folders of a cache, checked before they are opened
    versions.py   Store and Draft, made of these

A version's id is the digest of its manifest, and the manifest holds the digest of every file: one changed
bit anywhere is found by ``verify`` before anything is opened. This finds accidents, not a forger who writes a
whole new version: whoever may write in ``models/`` is trusted.

A killed process leaves the old version or the new one, whole, at each point:

- while a draft is written or synced: it has a dot name, no reader looks at it, the next lock sweeps it;
- after its rename to ``versions/<id>``, one step of the file system: a whole version that nobody uses yet,
  listed first, hence the first to be pruned;
- while ``CURRENT`` is replaced: the new content is synced beside it, then renamed over it, so it names the
  old version or the new one, which was verified before;
- between that and the history line: the next lock compares the two and writes the line;
- in a history line: readers leave out an unfinished last line, the next append removes it;
- in ``prune``: a version is renamed to a dot name, then emptied; the next lock ends the work, its line too.
"""

from __future__ import annotations

from .files import append_json, beside, locked_file, now, replace_file
from .formats import FORMAT, MANIFEST, signed, sound
from .sealed import check_cache, seal_cache
from .versions import Draft, Store

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Draft",
    "Store",
    "append_json",
    "beside",
    "check_cache",
    "locked_file",
    "now",
    "replace_file",
    "seal_cache",
    "signed",
    "sound",
]
