"""The language service, for any editor: findings and their fixes, completion, hover, signatures, symbols, renaming, folding.

Pure functions over a text and a catalog; offsets count characters (code points). Everything comes from where queries are compiled, so what an
editor offers runs, and what it marks would be refused.
"""

from __future__ import annotations

from tocsin.kql.language.completion import MOST, Completion, completion
from tocsin.kql.language.describe import Hover, Parameter, Signature, hover, signature_help
from tocsin.kql.language.findings import diagnostics
from tocsin.kql.language.symbols import Fold, Symbol, definition, folds, references, rename, symbols

__all__ = [
    "MOST",
    "Completion",
    "Fold",
    "Hover",
    "Parameter",
    "Signature",
    "Symbol",
    "completion",
    "definition",
    "diagnostics",
    "folds",
    "hover",
    "references",
    "rename",
    "signature_help",
    "symbols",
]
