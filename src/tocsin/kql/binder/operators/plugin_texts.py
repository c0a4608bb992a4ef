"""The texts of the plugins that are KQL themselves (see `library` for how they are filled and bound).

``{name}`` stands for a column argument, constants are scalars under their own names, ``{, dims}`` and kin for the dimensions at the end.
``{bin}`` is the period that a row lies in, ``{back}`` the period before ``['$bin']``, ``{from}`` the first period.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TEXTS", "Template"]


@dataclass(frozen=True, slots=True)
class Template:
    """A plugin as text.

    `parameters` in order: columns, constants (``=name``), and those that may be left out (``=name?``: a scalar that is no column; left out,
    it is ``dynamic(null)`` where the text asks). `dimensions` tells whether columns may follow, `table` whether a table may end the call.
    With `query` the text is a whole query over ``T`` (and ``L``, that table); otherwise a run of operators.
    `defaults` are named arguments with their default values.
    """

    parameters: tuple[str, ...]
    text: str
    dimensions: bool = True
    defaults: tuple[tuple[str, str], ...] = ()
    query: bool = False
    table: bool = False


TEXTS: dict[str, Template] = {
    # A value counts in its own bin and in those whose windows look back to it, so it comes at its bin and goes when its window
    # has passed without another of its rows: running sums of what comes and goes, however long the windows are.
    "sliding_window_counts": Template(
        ("{id}", "{time}", "=start", "=end", "=lookback", "=size"),
        """
        let S = size * tolong(lookback / size);
        let U = T
            | extend ['$bin'] = {bin}
            | where ['$bin'] <= end and ['$bin'] > {from} - lookback
            | summarize ['$n'] = count() by {id}, ['$bin'] {, dims};
        let D = materialize(U
            | sort by {id} asc {, dims asc}, ['$bin'] asc
            | extend ['$stay'] = iff(isnull(next(['$bin'])) or next({id}) != {id} {or next dims differ} or next(['$bin']) - ['$bin'] > S,
                S, next(['$bin']) - ['$bin']), ['$one'] = iff(isnull({id}), 0, 1));
        let P = union
                (D | project ['$w'] = ['$bin'], ['$d'] = ['$one'], ['$c'] = ['$n'] {, dims}),
                (D | project ['$w'] = ['$bin'] + ['$stay'], ['$d'] = -['$one'], ['$c'] = tolong(0) {, dims}),
                (D | project ['$w'] = ['$bin'] + S, ['$d'] = tolong(0), ['$c'] = -['$n'] {, dims})
            | summarize ['$d'] = sum(['$d']), ['$c'] = sum(['$c']) by ['$w'] = iff(['$w'] < {from}, {from}, ['$w']) {, dims};
        {windows}
        | extend ['$k'] = 1
        | join kind=inner (U | summarize by {dims or one}) on ['$k']
        | join kind=leftouter P on ['$w'] {, dims}
        | sort by {dims asc,} ['$w'] asc
        | extend Count = row_cumsum(coalesce(['$c'], 0), isnull(prev(['$w'])) {or dims changed}),
            Dcount = row_cumsum(coalesce(['$d'], 0), isnull(prev(['$w'])) {or dims changed})
        | where Count > 0
        | project {time} = ['$w'] {, dims}, Count, Dcount
        | sort by {time} asc
        """,
        query=True,
    ),
    # A session begins with a value's first row and after each pause that is as long as the look-back window.
    "session_count": Template(
        ("{id}", "{time}", "=start", "=end", "=size", "=lookback"),
        """
        where {time} between (start .. end)
        | summarize by {id}, {time} {, dims}
        | sort by {id} asc {, dims asc}, {time} asc
        | extend ['$new'] = isnull(prev({time})) or prev({id}) != {id} {or dims changed} or {time} - prev({time}) >= lookback
        | where ['$new']
        | summarize count_sessions = count() by {time} = bin({time}, size) {, dims}
        | sort by {time} asc
        """,
    ),
    "activity_engagement": Template(
        ("{id}", "{time}", "=start?", "=end?", "=size", "=outer"),
        """
        {range}
        let S = size * tolong(outer / size);
        let U = materialize(T
            | extend ['$bin'] = {bin}
            | where ['$bin'] <= end and ['$bin'] > {from} - outer and isnotnull({id})
            | summarize by {id}, ['$bin'] {, dims});
        let D = U
            | sort by {id} asc {, dims asc}, ['$bin'] asc
            | extend ['$stay'] = iff(isnull(next(['$bin'])) or next({id}) != {id} {or next dims differ} or next(['$bin']) - ['$bin'] > S,
                S, next(['$bin']) - ['$bin']);
        let P = union
                (D | summarize ['$d'] = count() by ['$w'] = ['$bin'] {, dims}),
                (D | summarize ['$d'] = -count() by ['$w'] = ['$bin'] + ['$stay'] {, dims})
            | summarize ['$d'] = sum(['$d']) by ['$w'] = iff(['$w'] < {from}, {from}, ['$w']) {, dims}
            | sort by {dims asc,} ['$w'] asc
            | extend dcount_activities_outer = row_cumsum(['$d'], isnull(prev(['$w'])) {or dims changed});
        U
        | where ['$bin'] >= {from}
        | summarize dcount_activities_inner = count() by ['$w'] = ['$bin'] {, dims}
        | join kind=inner P on ['$w'] {, dims}
        | project {time} = ['$w'], dcount_activities_inner, dcount_activities_outer,
            activity_ratio = todouble(dcount_activities_inner) / dcount_activities_outer {, dims}
        | sort by {time} asc
        """,
        query=True,
    ),
    # Of each value and bin one row; a value is new in the first bin that it has.
    "activity_counts_metrics": Template(
        ("{id}", "{time}", "=start", "=end", "=size"),
        """
        extend ['$bin'] = {bin}
        | where ['$bin'] between ({from} .. end)
        | summarize ['$rows'] = count() by {id}, ['$bin'] {, dims}
        | sort by {id} asc {, dims asc}, ['$bin'] asc
        | extend ['$new'] = isnull(prev(['$bin'])) or prev({id}) != {id} {or dims changed}
        | summarize ['count'] = sum(['$rows']), ['dcount'] = count(), new_dcount = countif(['$new'])
            by {time} = ['$bin'] {, dims}
        | sort by {dims asc,} {time} asc
        | extend aggregated_dcount = row_cumsum(new_dcount, isnull(prev({time})) {or dims changed})
        | sort by {time} asc
        """,
    ),
    # A value was there before when its row before is of the period before. Without a period before nobody could be lost: 1 and 0, as the
    # engine answers for the first one.
    "activity_metrics": Template(
        ("{id}", "{time}", "=start?", "=end?", "=size"),
        """
        {where in range}
        extend ['$bin'] = {bin}
        | summarize by {id}, ['$bin'] {, dims}
        | sort by {id} asc {, dims asc}, ['$bin'] asc
        | extend ['$kept'] = not(isnull(prev(['$bin'])) or prev({id}) != {id} {or dims changed} or prev(['$bin']) != {back})
        | summarize dcount_values = count(), dcount_newvalues = countif(not(['$kept'])), ['$kept'] = countif(['$kept'])
            by ['$bin'] {, dims}
        | sort by {dims asc,} ['$bin'] asc
        | extend ['$before'] = iff(isnull(prev(['$bin'])) {or dims changed} or prev(['$bin']) != {back}, 0, prev(dcount_values))
        | extend retention_rate = iff(['$before'] == 0, 1.0, todouble(['$kept']) / ['$before'])
        | project {time} = ['$bin'], dcount_values, dcount_newvalues, retention_rate, churn_rate = 1.0 - retention_rate {, dims}
        | sort by {time} asc
        """,
    ),
    # `R` counts the members of each cohort (those who came first in `$from`) in each period. Who is in a period and came
    # after `$from` is new to it: all of the period without the cohorts up to `$from`, a running sum.
    "new_activity_metrics": Template(
        ("{id}", "{time}", "=start", "=end", "=size", "=cohort?"),
        """
        let U = materialize(T
            | where {time} between (start .. end)
            | summarize by {id}, ['$to'] = {bin} {, dims}
            {without lookback});
        let R = materialize(U
            | join kind=inner (U | summarize ['$from'] = min(['$to']) by {id} {, dims}) on {id} {, dims}
            | summarize ['$n'] = count() by ['$from'], ['$to'] {, dims});
        let W = {windows} | extend ['$k'] = 1;
        W
        | project ['$from'] = ['$w'], ['$k']
        | join kind=inner (W | project ['$to'] = ['$w'], ['$k']) on ['$k']
        | where ['$to'] >= ['$from']
        | join kind=inner (U | summarize by {dims or one}) on ['$k']
        | join kind=leftouter (R | project-rename ['$own'] = ['$n']) on ['$from'], ['$to'] {, dims}
        | join kind=leftouter (R | where ['$from'] == ['$to'] | project ['$from'], ['$size'] = ['$n'] {, dims}) on ['$from'] {, dims}
        | join kind=leftouter (R | summarize ['$all'] = sum(['$n']) by ['$to'] {, dims}) on ['$to'] {, dims}
        | extend ['$own'] = coalesce(['$own'], 0), ['$size'] = coalesce(['$size'], 0), ['$all'] = coalesce(['$all'], 0)
        | sort by {dims asc,} ['$to'] asc, ['$from'] asc
        | extend ['$sum'] = row_cumsum(['$own'], isnull(prev(['$to'])) or prev(['$to']) != ['$to'] {or dims changed})
        {where cohort}
        | project from_{time:name} = ['$from'], to_{time:name} = ['$to'],
            dcount_new_values = iff(['$from'] == ['$to'], ['$size'], ['$all'] - ['$sum']), dcount_retained_values = ['$own'],
            dcount_churn_values = ['$size'] - ['$own'], retention_rate = todouble(['$own']) / ['$size'],
            churn_rate = todouble(['$size'] - ['$own']) / ['$size'] {, dims}
        | sort by from_{time:name} asc, to_{time:name} asc
        """,
        query=True,
        table=True,
    ),
    "rolling_percentile": Template(
        ("{value}", "=percent", "{time}", "=size", "=bins"),
        """
        let B = T | extend ['$bin'] = {bin};
        B
        | extend ['$k'] = 1
        | join kind=inner (range ['$i'] from 0 to tolong(bins) - 1 step 1 | extend ['$k'] = 1) on ['$k']
        | extend ['$bin'] = ['$bin'] + size * ['$i']
        | summarize rolling_{bins:text}_percentile_{value:name}_{percent:text} = percentile({value}, percent)
            by {time} = ['$bin'] {, dims}
        | join kind=leftsemi (B | summarize by {time} = ['$bin'] {, dims}) on {time} {, dims}
        | project {time} {, dims}, rolling_{bins:text}_percentile_{value:name}_{percent:text}
        | sort by {dims asc,} {time} asc
        """,
        query=True,
    ),
    "schema_merge": Template(
        (),
        """
        summarize low = min(ColumnOrdinal), high = max(ColumnOrdinal), DataType = take_any(DataType),
            ColumnType = take_any(ColumnType) by ColumnName
        | sort by high asc
        | extend wrong = PreserveOrder and low != high
        | project ColumnName, ColumnOrdinal = iff(wrong, long(-1), row_number() - 1),
            DataType = iff(wrong, "ERROR(unknown CSL type:ERROR(columns are out of order))", DataType),
            ColumnType = iff(wrong, "ERROR(columns are out of order)", ColumnType)
        """,
        dimensions=False,
        defaults=(("PreserveOrder", "true"),),
    ),
}
