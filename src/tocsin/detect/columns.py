"""`columns.toml`: columns that results of rules are asked for by name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["COLUMNS"]

COLUMNS: Mapping[str, Mapping[str, Any]] = tomllib.loads(Path(__file__).with_name("columns.toml").read_text("utf-8"))
"""Section → name → columns, or for `responses` what each says and acts on."""
