"""Where commands without a data folder keep what they could work out again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["user_cache"]


def user_cache(name: str) -> Path | None:
    """The user's folder for caches of that name: in ``$XDG_CACHE_HOME``, else in ``~/.cache`` (XDG Base Directory specification). It may not
    be there yet. None for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "tocsin" / name
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ".cache" / "tocsin" / name if home.is_dir() else None
