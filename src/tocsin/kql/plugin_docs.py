"""What each plugin of `evaluate` is for: syntax, a sentence or two, an example that runs. Completion, hover and the reference are made of it."""

from __future__ import annotations

from typing import Final

from tocsin.kql.operator_docs import OperatorDoc

__all__ = ["PLUGIN_DOCS"]

_LOGONS = (
    "datatable(User:string, At:datetime, State:string) ['ann', datetime(2026-01-01), 'fail', 'ann', datetime(2026-01-02), 'ok',"
    " 'bob', datetime(2026-01-02), 'fail']"
)
_RANGE = "datetime(2026-01-01), datetime(2026-01-31)"
_AREA = 'dynamic({"type":"Polygon","coordinates":[[[0,0],[2,0],[2,2],[0,2],[0,0]]]})'
_PERIOD = "A period may be a timespan, or 'week', 'month' or 'year' of the calendar."

PLUGIN_DOCS: Final[dict[str, OperatorDoc]] = {
    "active_users_count": OperatorDoc(
        "active_users_count(id, time, start, end, lookback, period, periods, bin[, dimension, …])",
        "Of each bin the distinct values that were there in at least so many periods of the look-back window that ends with one of their "
        f"rows. {_PERIOD}",
        f"{_LOGONS} | evaluate active_users_count(User, At, {_RANGE}, 8d, 1d, 2, 7d)",
    ),
    "activity_counts_metrics": OperatorDoc(
        "activity_counts_metrics(id, time, start, end, period[, dimension, …])",
        "Of each period rows, distinct values, those that no period before had, and the running sum of the latter. "
        + _PERIOD,
        f"{_LOGONS} | evaluate activity_counts_metrics(User, At, {_RANGE}, 1d)",
    ),
    "activity_engagement": OperatorDoc(
        "activity_engagement(id, time, [start, end,] inner, outer[, dimension, …])",
        "Distinct values of each inner window, of the outer window that ends with it, and their ratio (daily to monthly users).",
        f"{_LOGONS} | evaluate activity_engagement(User, At, {_RANGE}, 1d, 7d)",
    ),
    "activity_metrics": OperatorDoc(
        "activity_metrics(id, time, [start, end,] period[, dimension, …])",
        "Of each period distinct values, those that the period before had not, and the rates of those who came back and who did not. "
        f"Where no period is before, the rates are 1 and 0. {_PERIOD}",
        f"{_LOGONS} | evaluate activity_metrics(User, At, {_RANGE}, 1d)",
    ),
    "autocluster": OperatorDoc(
        "autocluster([size_weight[, weight_column[, seeds[, wildcard, …]]]])",
        "A few patterns of values that cover much of the rows and say much; '~' stands for a default. Candidates are all closed patterns of at "
        "least 5 % of the rows, ranked by the weighted geometric mean of their share of the rows and the information of their values; of "
        "patterns of which one says more of the same, the better ranked is shown, at most `seeds`. Counts are exact. Kusto searches "
        "from random rows, so it may choose other patterns.",
        f"{_LOGONS} | project User, State | evaluate autocluster()",
    ),
    "bag_unpack": OperatorDoc(
        "bag_unpack(column[, prefix][, columnsConflict='error'|'replace_source'|'keep_source'][, ignoredProperties])",
        "A column for each property of a bag.",
        "print d = dynamic({'a': 1, 'b': 2}) | evaluate bag_unpack(d) : (a:long, b:long)",
    ),
    "basket": OperatorDoc(
        "basket([threshold[, weight_column[, dimensions[, wildcard, …]]]])",
        "All patterns of values that at least a share of the rows has (0.05), each as specific as its rows allow; '~' stands for a default. "
        "Values that come along with others do not count as dimensions (5). All rows are counted; Kusto samples.",
        f"{_LOGONS} | project User, State | evaluate basket(0.3)",
    ),
    "dcount_intersect": OperatorDoc(
        "dcount_intersect(hll, hll[, …])",
        "How many values the first one, two, three … sets (states of hll) have in common.",
        "range x from 1 to 9 step 1 | summarize a = hll_if(x, x < 6), b = hll_if(x, x > 3) | evaluate dcount_intersect(a, b)",
    ),
    "diffpatterns": OperatorDoc(
        "diffpatterns(column, value_a, value_b[, weight_column[, threshold[, dimensions[, wildcard, …]]]])",
        "Patterns of values whose shares of two sets of rows differ most, at least by the threshold (0.05); of patterns of which one says "
        "more of the same, that with the greater difference is shown. Counts are exact.",
        f"{_LOGONS} | project User, State | evaluate diffpatterns(State, 'ok', 'fail')",
    ),
    "funnel_sequence": OperatorDoc(
        "funnel_sequence(id, time, start, end, longest_step, bin, state, sequence)",
        "What came before and after a run of states, as three results: by the states before and after, by the one before, by the one after. "
        "The run's states follow one another directly; a state that goes on is one step, unless the sequence has it twice running.",
        f"{_LOGONS} | evaluate funnel_sequence(User, At, {_RANGE}, 1d, 30d, State, dynamic(['fail']))",
    ),
    "funnel_sequence_completion": OperatorDoc(
        "funnel_sequence_completion(id, time, start, end, bin, state, sequence, spans)",
        "How many values came how far through a sequence of states within each of the spans, counted from the first state. "
        "Other states may lie between.",
        f"{_LOGONS} | evaluate funnel_sequence_completion(User, At, {_RANGE}, 30d, State, dynamic(['fail', 'ok']), dynamic([1h, 2d]))",
    ),
    "geo_line_lookup": OperatorDoc(
        "geo_line_lookup(lines, line_column, longitude, latitude, radius[, return_unmatched][, lookup_area_radius][, return_lookup_key])",
        "Rows joined to the lines within so many metres of their point.",
        'print lon = 0.0, lat = 0.0 | evaluate geo_line_lookup((print name = "equator",'
        ' line = dynamic({"type":"LineString","coordinates":[[-1,0],[1,0]]})), line, lon, lat, 100)',
    ),
    "geo_polygon_lookup": OperatorDoc(
        "geo_polygon_lookup(polygons, polygon_column, longitude, latitude[, radius][, return_unmatched][, lookup_area_radius][, return_lookup_key])",
        "Rows joined to the polygons that hold their point.",
        f"print lon = 1.0, lat = 1.0 | evaluate geo_polygon_lookup((print name = 'square', area = {_AREA}), area, lon, lat)",
    ),
    "ipv4_lookup": OperatorDoc(
        "ipv4_lookup(networks, address, network[, key, …][, return_unmatched=true])",
        "Rows joined to the networks (with a prefix) that hold their IPv4 address.",
        "print ip = '10.1.2.3' | evaluate ipv4_lookup((print net = '10.0.0.0/8', site = 'here'), ip, net)",
    ),
    "ipv6_lookup": OperatorDoc(
        "ipv6_lookup(networks, address, network[, key, …][, return_unmatched=true])",
        "Rows joined to the networks (with a prefix) that hold their IPv6 address.",
        "print ip = 'fe80::1' | evaluate ipv6_lookup((print net = 'fe80::/10', site = 'link'), ip, net)",
    ),
    "narrow": OperatorDoc(
        "narrow()",
        "One row for each cell: the row's number, the column's name and the value as text.",
        f"{_LOGONS} | evaluate narrow()",
    ),
    "new_activity_metrics": OperatorDoc(
        "new_activity_metrics(id, time, start, end, period[, cohort][, dimension, …][, lookback])",
        "Those who came first in one period (the cohort) followed through all later ones: how many are there again, how many not, and how many "
        f"are new since. `lookback` is a table of those who are not new. {_PERIOD}",
        f"{_LOGONS} | evaluate new_activity_metrics(User, At, {_RANGE}, 7d)",
    ),
    "pivot": OperatorDoc(
        "pivot(column[, aggregate][, column, …])",
        "A column for each value of a column, holding an aggregate (count) of the rows with that value.",
        f"{_LOGONS} | project User, State | evaluate pivot(State) : (User:string, ok:long, fail:long)",
    ),
    "preview": OperatorDoc(
        "preview(number)",
        "The first rows, and as a second result how many there are.",
        f"{_LOGONS} | evaluate preview(1)",
    ),
    "rolling_percentile": OperatorDoc(
        "rolling_percentile(value, percentile, index, bin, bins[, dimension, …])",
        "Of each bin the percentile of the values in the window of so many bins that ends with it.",
        "range x from 1 to 9 step 1 | extend At = datetime(2026-01-01) + x * 1h | evaluate rolling_percentile(x, 50, At, 2h, 2)",
    ),
    "rows_near": OperatorDoc(
        "rows_near(condition, rows_before[, rows_after])",
        "The rows that satisfy a condition, and so many rows before and after each. Needs rows in order.",
        f"{_LOGONS} | sort by At asc | evaluate rows_near(State == 'ok', 1)",
    ),
    "schema_merge": OperatorDoc(
        "schema_merge([PreserveOrder=true])",
        "Merges several results of getschema into one schema; columns out of order are marked.",
        "union (print a = 1 | getschema), (print a = 2, b = 'x' | getschema) | evaluate schema_merge()",
    ),
    "sequence_detect": OperatorDoc(
        "sequence_detect(time, longest_step, longest_span, name = condition, name = condition, …[, dimension, …])",
        "All series of rows of equal dimensions that satisfy the conditions one after another, each row later than the one before or at the "
        "same time. Boolean expressions are conditions, all others dimensions.",
        f"{_LOGONS} | evaluate sequence_detect(At, 2d, 7d, failed = (State == 'fail'), came = (State == 'ok'), User)",
    ),
    "session_count": OperatorDoc(
        "session_count(id, time, start, end, bin, lookback[, dimension, …])",
        "How many sessions began in each bin: a session begins with a value's first row and after a pause as long as the look-back window.",
        f"{_LOGONS} | evaluate session_count(User, At, {_RANGE}, 1d, 1h)",
    ),
    "sliding_window_counts": OperatorDoc(
        "sliding_window_counts(id, time, start, end, lookback, bin[, dimension, …])",
        "Rows and distinct values of the window that ends with each bin.",
        f"{_LOGONS} | evaluate sliding_window_counts(User, At, {_RANGE}, 7d, 1d)",
    ),
}
"""Name → what it does."""
