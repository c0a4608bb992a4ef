"""Logging: dotted event names and key-values, to standard error. Secrets never go here."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

__all__ = ["Level", "configure"]

Level = Literal["debug", "info", "warning", "error", "silent"]


def configure(level: Level = "warning", *, as_json: bool = False) -> None:
    """Sends log events of that level and above to standard error, as text for people or as JSON lines."""
    chosen = {"silent": logging.CRITICAL}.get(level) or logging.getLevelNamesMapping()[level.upper()]
    renderer = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(chosen),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=chosen, stream=sys.stderr, format="%(asctime)s [%(levelname)s] %(name)s %(message)s", force=True
    )
    for chatty in (
        "httpx",
        "httpcore",
        "alembic",
        "uvicorn",
        "asyncio",
        "watchfiles",
    ):  # libraries speak from warnings on
        logging.getLogger(chatty).setLevel(max(chosen, logging.WARNING))
