"""The commonest mistakes in KQL and what Tocsin says of each: ``python -m tocsin.kql.mistakes > docs/reference/kql-errors.md``.

The page is made by compiling the texts, so it shows the messages as they are; a test reads that each names its line and advises.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tocsin.kql.diagnostics import KqlErrors
from tocsin.kql.types import Column, FunctionSource, KqlType, MappingCatalog, TableSchema

__all__ = ["CATALOG", "MISTAKES", "Mistake", "message", "reference"]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake: what it is, a query that makes it, and words that the message must have."""

    title: str
    query: str
    must_say: str


CATALOG: Final = MappingCatalog(
    {
        "Logs": TableSchema(
            "Logs",
            (
                Column("TimeGenerated", KqlType.DATETIME),
                Column("Account", KqlType.STRING),
                Column("Computer", KqlType.STRING),
                Column("EventID", KqlType.INT),
                Column("Bytes", KqlType.LONG),
                Column("Details", KqlType.DYNAMIC),
            ),
        ),
        "Hosts": TableSchema("Hosts", (Column("Computer", KqlType.STRING), Column("Owner", KqlType.STRING))),
    },
    {"LastDay": FunctionSource("LastDay", "", "Logs | where TimeGenerated > ago(1d)")},
)

MISTAKES: Final[tuple[Mistake, ...]] = (
    Mistake("An operator misspelt", "Logs | sumarize count() by Account", "summarize"),
    Mistake("A table misspelt", "Log | take 10", "Logs"),
    Mistake("A column misspelt", "Logs | where Acount == 'ann'", "Account"),
    Mistake("A column in another case", "Logs | extend x = 1 | where X == 1", "'x'"),
    Mistake("A function misspelt", "Logs | extend n = strlenn(Account)", "strlen"),
    Mistake("A string operator misspelt", "Logs | where Account contians 'ann'", "contains"),
    Mistake("One equals sign", "Logs | where EventID = 4624", "=="),
    Mistake("No pipe before an operator", "Logs\nwhere EventID == 4624", "|"),
    Mistake("No semicolon after let", "let Days = 7d\nLogs | where TimeGenerated > ago(Days)", ";"),
    Mistake("A parenthesis that is not closed", "Logs | where (EventID == 4624 or EventID == 4625", "not closed"),
    Mistake("A parenthesis too many", "Logs | where (EventID == 4624))", "closes nothing"),
    Mistake("A string that is not closed", "Logs | where Account == 'ann\n| take 10", "not closed"),
    Mistake("Typographic quotes", "Logs | where Account == “ann”", 'Write "'),
    Mistake("A single backslash", 'Logs | where Details has "C:\\dir"', '@"'),
    Mistake("A list without parentheses", "Logs | where EventID in 4624, 4625", "parentheses"),
    Mistake("SQL's select", "Logs | select Account", "project"),
    Mistake("Splunk's stats", "Logs | stats count() by Account", "summarize"),
    Mistake("not without parentheses", "Logs | where not EventID == 4624", "not(…)"),
    Mistake("A comparison of a comparison", "Logs | where 1 < EventID < 5000", "and"),
    Mistake("A kind of join that does not exist", "Logs | join kind=iner Hosts on Computer", "inner"),
    Mistake("A join's column that one side lacks", "Logs | join kind=inner Hosts on Account", "Account"),
    Mistake("A type's name of another language", "datatable(Name:varchar) ['ann']", "string"),
    Mistake("A typed literal of an expression", "Logs | extend n = long(Account)", "tolong"),
    Mistake("A date that is none", "Logs | where TimeGenerated > datetime(2024-13-01)", "2024-13-01"),
    Mistake("An expression in dynamic", "Logs | extend d = dynamic(Account)", "parse_json"),
    Mistake("An aggregate outside of summarize", "Logs | extend n = count()", "summarize"),
    Mistake(
        "A column that summarize did not keep", "Logs | summarize count() by Account | where EventID == 1", "EventID"
    ),
    Mistake("Text compared with a number", "Logs | where Account > Bytes", "tostring"),
    Mistake("Too few arguments", "Logs | extend s = substring(Account)", "substring"),
    Mistake("An operator used as a function", "Logs | where contains(Account, 'ann')", "x contains y"),
    Mistake("A word of the language as a name", "Logs | extend first = 1", "['first']"),
    Mistake("sort without by", "Logs | sort TimeGenerated", "by"),
    Mistake("A table used as a value", "Logs | where Account == (Hosts | project Owner)", "toscalar"),
    Mistake("A regular expression that is wrong", "Logs | where Account matches regex '(ann'", "regular expression"),
    Mistake("A second query", "Logs | count;\nNoTable | count", "NoTable"),
    Mistake("Data from elsewhere", "externaldata(Name:string) ['https://example.org/names.csv']", "refused"),
)
"""In the order of the page: names, signs, other languages, types, operators."""

_HEAD = """# KQL: what goes wrong, and what Tocsin says

Made by compiling each text (`src/tocsin/kql/mistakes.py`, `make docs`). Line and column count from 1. A text with several faults gets a
message for each. Codes: `KQL00xx` text and syntax, `KQL01xx` names and types, `KQL02xx` refused by policy or not supported, `KQL03xx` a
function's own refusal.
"""


def message(mistake: Mistake) -> str:
    """What is said of it; empty where nothing is wrong."""
    from tocsin.kql.compile import compile_query

    try:
        compile_query(mistake.query, CATALOG, now=datetime(2024, 5, 1, tzinfo=UTC))
    except KqlErrors as error:
        return error.render()
    return ""


def reference() -> str:
    """The page."""
    lines = [_HEAD]
    for mistake in MISTAKES:
        lines += [f"## {mistake.title}", "", "```", message(mistake), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
