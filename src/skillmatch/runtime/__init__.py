"""The workspace, its settings and where each came from (``settings``); joblib's parallel work (``backend``)."""

from .backend import Backend, connected, in_threads, travels_openly
from .settings import CONFIG, SETTINGS, Settings, Workspace, cores, find_workspace, load_settings

__all__ = [
    "CONFIG",
    "SETTINGS",
    "Backend",
    "Settings",
    "Workspace",
    "connected",
    "cores",
    "find_workspace",
    "in_threads",
    "load_settings",
    "travels_openly",
]
