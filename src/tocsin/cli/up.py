"""`tocsin up`: the server."""

from __future__ import annotations

__all__ = ["up"]


def up() -> None:
    """Start the server."""
