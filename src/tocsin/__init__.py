"""Tocsin: a self-hosted SIEM, XDR and SOAR that speaks KQL. `ARCHITECTURE.md` shows the house on one page."""

__version__ = "0.1.0"
