"""Content: packs of rules, hunts, parsers, functions, automation rules and watchlists, read from files and checked."""

from tocsin.content.known import KnownFiles
from tocsin.content.load import load_packs, load_rule_file, load_test_file, load_watchlists, packs_dir, read_text
from tocsin.content.model import (
    AnomalyFile,
    AutomationFile,
    Content,
    DemoFile,
    EntityFile,
    FunctionFile,
    FusionFile,
    Hunt,
    IncidentFile,
    LinkFile,
    Pack,
    ParserFile,
    RuleFile,
    SummaryFile,
    TestCase,
    TestFile,
    Watchlist,
)
from tocsin.content.schema import Field, Schema, check, is_warning
from tocsin.content.yamltext import Document, parse_one, parse_yaml

__all__ = [
    "AnomalyFile", "AutomationFile", "Content", "DemoFile", "Document", "EntityFile", "Field", "FunctionFile", "FusionFile", "Hunt",
    "IncidentFile", "KnownFiles", "LinkFile", "Pack", "ParserFile", "RuleFile", "Schema", "SummaryFile", "TestCase", "TestFile", "Watchlist",
    "check", "is_warning", "load_packs", "load_rule_file", "load_test_file", "load_watchlists", "packs_dir", "parse_one", "parse_yaml",
    "read_text",
]  # fmt: skip
