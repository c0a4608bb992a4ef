"""What every watchlist has besides its own columns (learn.microsoft.com/azure/sentinel/watchlists-queries)."""

from __future__ import annotations

__all__ = ["CHANGED", "ITEM_ID", "SEARCH_KEY"]

ITEM_ID, SEARCH_KEY, CHANGED = "_DTItemId", "SearchKey", "LastUpdatedTimeUTC"
