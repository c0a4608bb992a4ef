"""What each operator and statement is for: syntax, a sentence, an example. Completion, hover and the reference are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["OPERATOR_DOCS", "SETTING_DOCS", "STATEMENT_DOCS", "OperatorDoc"]


@dataclass(frozen=True, slots=True)
class OperatorDoc:
    """`syntax` with brackets round what may be left out; `doc` one or two sentences; `example` a query that runs on any workspace."""

    syntax: str
    doc: str
    example: str


_EVENTS = "DeviceProcessEvents"

OPERATOR_DOCS: Final[dict[str, OperatorDoc]] = {
    "as": OperatorDoc(
        "as [hint.materialized=true] Name",
        "Gives the table so far a name, by which later parts of the query and withsource know it.",
        "range x from 1 to 3 step 1 | as Numbers",
    ),
    "consume": OperatorDoc(
        "consume [decodeblocks=true]",
        "Reads all rows and returns none: to measure what a query costs.",
        f"{_EVENTS} | consume",
    ),
    "count": OperatorDoc("count [as Name]", "The number of rows, as one row.", f"{_EVENTS} | count"),
    "datatable": OperatorDoc(
        "datatable (Name:type, …) [value, …]",
        "A table written in the query, row after row.",
        "datatable(User:string, Tries:long) ['ann', 3, 'bob', 1]",
    ),
    "distinct": OperatorDoc(
        "distinct column, … | *",
        "The different combinations of the given columns, each once.",
        f"{_EVENTS} | distinct DeviceName, AccountName",
    ),
    "evaluate": OperatorDoc(
        "evaluate [hint.*] plugin(argument, …) [: (Name:type, …)]",
        "Runs a plugin on the table. The schema after the colon says which columns it gives.",
        "print d = dynamic({'a': 1, 'b': 2}) | evaluate bag_unpack(d)",
    ),
    "execute-and-cache": OperatorDoc(
        "execute-and-cache",
        "Asks the engine to keep the result. Results are kept here anyway where that helps, so it changes nothing.",
        f"{_EVENTS} | execute-and-cache",
    ),
    "extend": OperatorDoc(
        "extend [name =] expression, …",
        "Adds computed columns; a column of the same name is replaced.",
        f"{_EVENTS} | extend Hour = bin(Timestamp, 1h)",
    ),
    "external_data": OperatorDoc("external_data (…) [uri, …] [with (…)]", "Another spelling of externaldata.", ""),
    "externaldata": OperatorDoc(
        "externaldata (Name:type, …) [uri, …] [with (format='csv', ignoreFirstRecord=true, ingestionMapping='[…]')]",
        "Rows of files and web addresses that the setting query.external.allow names; nothing is by default. Formats: csv, tsv, tsve, psv, "
        "scsv, sohsv, txt, raw, json (a line each), multijson, singlejson, parquet; packed by gzip or zip or not.",
        "externaldata(Domain:string) ['https://example.org/list.txt'] with (format='txt')",
    ),
    "facet": OperatorDoc(
        "facet by column, … [with (operators)]",
        "A table of counts for each of the columns, and the rows through the operators.",
        f"{_EVENTS} | facet by FileName with (take 10)",
    ),
    "filter": OperatorDoc(
        "filter predicate", "Another spelling of where.", f"{_EVENTS} | filter FileName == 'cmd.exe'"
    ),
    "find": OperatorDoc(
        "find [withsource=Name] [in (table, …)] where predicate [project column, …] [project-away column, …]",
        "Rows of several tables for which the predicate holds, each with its table's name.",
        f"find in ({_EVENTS}, DeviceFileEvents) where FileName =~ 'a.exe' project DeviceName",
    ),
    "fork": OperatorDoc(
        "fork [name =] (operators) [name =] (operators) …",
        "Several operators on the same rows, each with a result of its own.",
        f"{_EVENTS} | fork (count) (take 5)",
    ),
    "getschema": OperatorDoc("getschema", "The names and types of the table's columns.", f"{_EVENTS} | getschema"),
    "graph-mark-components": OperatorDoc(
        "graph-mark-components [kind=weak|strong] [with_component_id=Name]",
        "Numbers the parts of a graph that hang together.",
        "",
    ),
    "graph-match": OperatorDoc(
        "graph-match [cycles=none] (a)-[e]->(b), … [where predicate] project [name =] expression, …",
        "The places where a pattern of nodes and edges occurs in a graph; e*1..3 follows up to three edges.",
        "",
    ),
    "graph-shortest-paths": OperatorDoc(
        "graph-shortest-paths [output=any|all] (a)-[e*1..9]->(b) [where predicate] project [name =] expression, …",
        "The shortest paths of a pattern in a graph.",
        "",
    ),
    "graph-to-table": OperatorDoc(
        "graph-to-table nodes [as Name] [with_node_id=Name], edges [as Name] [with_source_id=Name] [with_target_id=Name]",
        "The nodes or edges of a graph as a table.",
        "",
    ),
    "graph-where-edges": OperatorDoc("graph-where-edges predicate", "Keeps the edges for which it holds.", ""),
    "graph-where-nodes": OperatorDoc("graph-where-nodes predicate", "Keeps the nodes for which it holds.", ""),
    "inline_external_table": OperatorDoc(
        "inline_external_table (Name:type, …) kind=… dataformat=… (uri, …)",
        "An external table written in the query; refused, like every reference to storage outside of the workspace.",
        "",
    ),
    "invoke": OperatorDoc(
        "invoke function(argument, …)",
        "Calls a function whose first parameter is a table with the rows so far.",
        "let f = (T:(*)) { T | take 1 }; range x from 1 to 3 step 1 | invoke f()",
    ),
    "join": OperatorDoc(
        "join [kind=…] [hint.*] (table) on column, … | $left.a == $right.b",
        "Puts rows of two tables together where the keys are equal. Without a kind the left side's keys are made unique first.",
        f"{_EVENTS} | join kind=inner (DeviceInfo | project DeviceId, OSPlatform) on DeviceId",
    ),
    "limit": OperatorDoc("limit number", "Another spelling of take.", f"{_EVENTS} | limit 10"),
    "lookup": OperatorDoc(
        "lookup [kind=leftouter|inner] (table) on column, …",
        "Adds columns of a small table to each row.",
        f"{_EVENTS} | lookup (DeviceInfo | summarize arg_max(Timestamp, OSPlatform) by DeviceId) on DeviceId",
    ),
    "macro-expand": OperatorDoc(
        "macro-expand entity_group [entity, …] as Name (query)",
        "Runs a query for each of several databases; there is one database here, so it is refused.",
        "",
    ),
    "make-graph": OperatorDoc(
        "make-graph source --> target [with table on id, …] [with_node_id=Name] [partitioned-by column (operators)]",
        "A graph whose edges are the table's rows.",
        "",
    ),
    "make-series": OperatorDoc(
        "make-series [name =] aggregate [default=value], … on axis [from start] [to stop] step size [by column, …]",
        "Series of aggregates at even distances, gaps filled, as arrays.",
        f"{_EVENTS} | make-series count() on Timestamp from ago(1d) to now() step 1h by DeviceName",
    ),
    "mv-apply": OperatorDoc(
        "mv-apply [name =] array [to typeof(type)], … [limit number] on (operators)",
        "Expands an array in each row and runs operators on its items, row by row.",
        "print a = dynamic([3, 1, 2]) | mv-apply a to typeof(long) on (top 1 by a)",
    ),
    "mv-expand": OperatorDoc(
        "mv-expand [bagexpansion=array] [with_itemindex=Name] [name =] array [to typeof(type)], … [limit number]",
        "A row for each item of an array or property of a bag.",
        "print a = dynamic([1, 2]) | mv-expand a to typeof(long)",
    ),
    "mvapply": OperatorDoc("mvapply …", "Another spelling of mv-apply.", ""),
    "mvexpand": OperatorDoc("mvexpand …", "Another spelling of mv-expand.", ""),
    "order": OperatorDoc(
        "order by column [asc|desc], …", "Another spelling of sort.", f"{_EVENTS} | order by Timestamp"
    ),
    "parse": OperatorDoc(
        "parse [kind=simple|regex|relaxed] [flags=…] text with * 'text' column[:type] …",
        "Takes a text apart by a pattern of texts and columns.",
        "print s = 'user=ann id=7' | parse s with 'user=' User ' id=' Id:long",
    ),
    "parse-kv": OperatorDoc(
        "parse-kv text as (Key:type, …) with (pair_delimiter=' ', kv_delimiter='=', …)",
        "Takes key and value pairs out of a text.",
        "print s = 'a=1 b=2' | parse-kv s as (a:long, b:long) with (pair_delimiter=' ', kv_delimiter='=')",
    ),
    "parse-where": OperatorDoc(
        "parse-where [kind=…] text with pattern",
        "As parse, but rows that do not fit the pattern are left out.",
        "print s = 'user=ann' | parse-where s with 'user=' User",
    ),
    "partition": OperatorDoc(
        "partition [hint.strategy=…] by column (operators)",
        "Runs operators on the rows of each value of a column apart.",
        f"{_EVENTS} | partition by DeviceName (top 1 by Timestamp)",
    ),
    "__partitionby": OperatorDoc("__partitionby column (operators)", "An older form of partition.", ""),
    "print": OperatorDoc("print [name =] expression, …", "One row of computed values.", "print now(), x = 1 + 1"),
    "project": OperatorDoc(
        "project [name =] expression, …",
        "Chooses, computes and renames columns; all others are left out.",
        f"{_EVENTS} | project Timestamp, Process = FileName",
    ),
    "project-away": OperatorDoc(
        "project-away column | pattern*, …", "Leaves columns out.", f"{_EVENTS} | project-away Initiating*"
    ),
    "project-by-names": OperatorDoc(
        "project-by-names column | pattern* | 'name' | dynamic([…]), …",
        "Chooses columns by names that may be computed.",
        "print a = 1, b = 2 | project-by-names dynamic(['b'])",
    ),
    "project-keep": OperatorDoc(
        "project-keep column | pattern*, …",
        "Keeps the columns of these names, in the order that they have.",
        f"{_EVENTS} | project-keep Timestamp, Account*",
    ),
    "project-rename": OperatorDoc(
        "project-rename new = old, …", "Gives columns other names.", f"{_EVENTS} | project-rename Process = FileName"
    ),
    "project-reorder": OperatorDoc(
        "project-reorder column | pattern* [asc|desc|granny-asc|granny-desc], …",
        "Puts columns first; the others follow.",
        f"{_EVENTS} | project-reorder DeviceName, FileName",
    ),
    "range": OperatorDoc(
        "range name from start to stop step size", "A table of evenly spaced values.", "range x from 1 to 10 step 2"
    ),
    "reduce": OperatorDoc(
        "reduce [kind=source] by text [with threshold=0.1, characters='…']",
        "Groups texts by the terms that more than `threshold` of all rows have at the same place (Vaarandi's SLCT); all other terms become *. "
        "Texts of groups smaller than that are `others`. Terms are runs of ASCII letters and digits, or what stands between the "
        "given characters. kind=source adds the pattern to each row.",
        f"{_EVENTS} | reduce by ProcessCommandLine",
    ),
    "render": OperatorDoc(
        "render visualization [with (title='…', xcolumn=…, ycolumns=…, series=…, kind=stacked, …)]",
        "Says how the result is to be drawn.",
        f"{_EVENTS} | summarize count() by bin(Timestamp, 1h) | render timechart",
    ),
    "sample": OperatorDoc("sample number", "Rows taken at random.", f"{_EVENTS} | sample 10"),
    "sample-distinct": OperatorDoc(
        "sample-distinct number of column",
        "Different values taken at random.",
        f"{_EVENTS} | sample-distinct 5 of DeviceName",
    ),
    "scan": OperatorDoc(
        "scan [with_match_id=Name] [order by …] [partition by …] [declare (name:type = value, …)] "
        "with (step name [output=all|last|none]: condition [=> name = value, …]; …)",
        "Follows ordered rows through steps that remember values: for sequences and running state.",
        "range x from 1 to 5 step 1 | sort by x asc | scan declare (Sum:long=0) with (step s: true => Sum = x + s.Sum;)",
    ),
    "search": OperatorDoc(
        "search [kind=case_sensitive] [in (table, …)] predicate",
        "Rows of all or some tables in which a term occurs in any column.",
        f"search in ({_EVENTS}) 'mimikatz'",
    ),
    "serialize": OperatorDoc(
        "serialize [[name =] expression, …]",
        "Keeps the order of rows, so that row_number(), prev() and next() may be used.",
        f"{_EVENTS} | serialize Row = row_number()",
    ),
    "sort": OperatorDoc(
        "sort by expression [asc|desc] [nulls first|last], …",
        "Orders rows; descending where nothing is said.",
        f"{_EVENTS} | sort by Timestamp asc",
    ),
    "summarize": OperatorDoc(
        "summarize [hint.*] [[name =] aggregate, …] [by [name =] expression, …]",
        "Groups rows and computes aggregates over each group.",
        f"{_EVENTS} | summarize Starts = count() by FileName, bin(Timestamp, 1h)",
    ),
    "take": OperatorDoc("take number", "That many rows, whichever come first.", f"{_EVENTS} | take 10"),
    "top": OperatorDoc(
        "top number by expression [asc|desc] [nulls first|last]",
        "The first rows by an order.",
        f"{_EVENTS} | top 10 by Timestamp",
    ),
    "top-hitters": OperatorDoc(
        "top-hitters number of value [by weight]",
        "The most frequent values.",
        f"{_EVENTS} | top-hitters 5 of FileName",
    ),
    "top-nested": OperatorDoc(
        "top-nested [number] of column [with others='…'] by aggregate [asc|desc], top-nested …",
        "The first values of a column by an aggregate, and within each the first values of another.",
        f"{_EVENTS} | top-nested 3 of DeviceName by count(), top-nested 2 of FileName by count()",
    ),
    "union": OperatorDoc(
        "union [kind=inner|outer] [withsource=Name] [isfuzzy=true] table | pattern* | (query), …",
        "The rows of several tables, one after the other; columns are matched by name.",
        f"union withsource=Table {_EVENTS}, DeviceFileEvents",
    ),
    "where": OperatorDoc(
        "where predicate", "The rows for which the predicate holds.", f"{_EVENTS} | where FileName =~ 'powershell.exe'"
    ),
}
"""Keyword → what it does."""

STATEMENT_DOCS: Final[dict[str, OperatorDoc]] = {
    "let": OperatorDoc(
        "let name = expression | query | (parameter:type [= default], …) { body };",
        "Gives a value, a table or a function a name for the rest of the query.",
        "let Recent = 1h; print ago(Recent)",
    ),
    "set": OperatorDoc(
        "set option [= value];", "Sets an option of the query; those that Tocsin does not know are ignored.", ""
    ),
    "declare": OperatorDoc(
        "declare query_parameters (name:type [= default], …);",
        "Says which values the caller hands to the query.",
        "declare query_parameters (Days:long = 7); print Days",
    ),
    "alias": OperatorDoc(
        "alias database Name = cluster('…').database('…');", "Names another database; refused here.", ""
    ),
    "restrict": OperatorDoc("restrict access to (table, …);", "Lets the rest of the query see only these tables.", ""),
}
"""First word of a statement → what it does."""

SETTING_DOCS: Final[dict[str, str]] = {
    "kind": "Which form of the operator.",
    "withsource": "Adds a column of this name with the name of each row's table.",
    "with_source": "Adds a column of this name with the name of each row's table.",
    "isfuzzy": "Tables that do not exist are left out with a warning instead of refused.",
    "bagexpansion": "How a bag is expanded: into bags of one property, or into [key, value] arrays.",
    "with_itemindex": "Adds a column of this name with the place of the item, counted from 0.",
    "flags": "Flags of the regular expression: U ungreedy, m several lines, s dot takes line breaks, i without case.",
    "with_match_id": "Adds a column of this name with the number of the match.",
    "with_node_id": "The name of the column with a node's id.",
    "with_component_id": "The name of the column with the number of a component.",
    "cycles": "Which paths that come back to a node are taken.",
    "output": "One shortest path or all of them.",
    "decodeblocks": "Whether values are decoded as well.",
}
"""A setting of operators → what it is for."""
