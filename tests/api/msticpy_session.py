"""What an analyst's notebook does with msticpy, as one script: `test_msticpy.py` runs it in an environment that has msticpy.

Arguments: URL, token, workspace name. Prints one JSON object.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings

warnings.simplefilter("ignore")
url, token, workspace = sys.argv[1:]
found: dict[str, object] = {}
with contextlib.redirect_stdout(io.StringIO()):
    import pandas as pd
    from msticpy.data.core.data_providers import QueryProvider

    # --- Sentinel: discovery, sign-in, schema and queries all at Tocsin (msticpyconfig.yaml names it as the cloud's resource manager)
    sentinel = QueryProvider("MSSentinel")
    sentinel.connect(workspace="Tocsin")
    found["connected"] = sentinel.connected
    found["schema"] = sentinel.schema.get("SecurityEvent", {}).get("EventID")
    frame = sentinel.exec_query("SecurityEvent | summarize n=count() by EventID | sort by EventID asc")
    found["counts"] = frame.to_dict("records")
    typed = sentinel.exec_query(
        "print t=datetime(2026-01-02T03:04:05.5Z), l=9223372036854775807, r=1.5, b=true, s='é', d=dynamic({'a':1})"
    )
    row = typed.iloc[0]
    found["typed"] = [
        str(pd.Timestamp(row["t"])),
        int(row["l"]),
        float(row["r"]),
        bool(row["b"]),
        row["s"],
        json.loads(row["d"]),
    ]
    end = pd.Timestamp.now("UTC")
    found["windowed"] = int(
        sentinel.exec_query("SecurityEvent | count", time_span={"start": end - pd.Timedelta(hours=3), "end": end}).iloc[
            0, 0
        ]
    )
    # One of the hundreds of queries that ship with msticpy.
    logons = sentinel.WindowsSecurity.list_host_logons(host_name="ws-1", start=end - pd.Timedelta(days=1), end=end)
    found["shipped"] = [len(logons), sorted(set(logons["Computer"]))]
    try:
        sentinel.exec_query("SecurityEvent | where Nope == 1")
    except Exception as error:
        found["error"] = [type(error).__name__, "Nope" in str(error)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cut = sentinel.exec_query("range x from 1 to 2000 step 1")
    found["partial"] = [len(cut), any("Partial results" in str(w.message) for w in caught)]

    # --- Azure Data Explorer
    kusto = QueryProvider("Kusto")
    kusto.connect(
        connection_str=f"Data Source={url};Initial Catalog={workspace};AAD Federated Security=True;Application Token={token}",
        database=workspace,
    )
    found["databases"] = kusto.get_database_names()
    found["kusto_schema"] = kusto.get_database_schema()["SecurityEvent"]["EventID"]
    frame = kusto.exec_query("SecurityEvent | summarize n=count() by EventID | sort by EventID asc", database=workspace)
    found["kusto_counts"] = frame.to_dict("records")
    typed = kusto.exec_query(
        "print t=datetime(2026-01-02T03:04:05.5Z), ts=1d, l=9223372036854775807, r=real(nan), b=true, d=dynamic({'a':1}), m=decimal(1.5)",
        database=workspace,
    ).iloc[0]
    found["kusto_typed"] = [
        str(typed["t"]),
        str(typed["ts"]),
        int(typed["l"]),
        bool(pd.isna(typed["r"])),
        bool(typed["b"]),
        typed["d"],
        float(typed["m"]),
    ]
    try:
        kusto.exec_query("SecurityEvent | where Nope == 1", database=workspace)
    except Exception as error:
        found["kusto_error"] = [type(error).__name__, "Nope" in str(error)]
print(json.dumps(found))
