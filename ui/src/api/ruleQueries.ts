import { keepPreviousData, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, take } from "./client";
import type { NewCondition, RunOver, TuningPatch } from "./types";

// Rules, what looks after them, watchlists and anomalies: what their pages ask and change.

const CALM = 15_000;

const of = (rule_id: string) => ({ path: { rule_id } });

export const noiseQuery = (rule_id: string, weeks = 12) =>
  queryOptions({
    queryKey: ["rules", rule_id, "noise", weeks],
    queryFn: ({ signal }) => take(api.GET("/api/v1/rules/{rule_id}/noise", { params: { ...of(rule_id), query: { weeks } }, signal })),
    refetchInterval: CALM,
  });

export const runsQuery = (rule_id: string) =>
  queryOptions({
    queryKey: ["rules", rule_id, "runs"],
    queryFn: ({ signal }) => take(api.GET("/api/v1/rules/{rule_id}/runs", { params: of(rule_id), signal })),
    refetchInterval: CALM,
  });

export const hitsQuery = (rule_id: string, alert?: string) =>
  queryOptions({
    queryKey: ["rules", rule_id, "alerts", alert ?? ""],
    queryFn: ({ signal }) => take(api.GET("/api/v1/rules/{rule_id}/alerts", { params: { ...of(rule_id), query: { alert } }, signal })),
  });

export const casesQuery = (rule_id: string) =>
  queryOptions({
    queryKey: ["rules", rule_id, "tests"],
    queryFn: ({ signal }) => take(api.GET("/api/v1/rules/{rule_id}/tests", { params: of(rule_id), signal })),
  });

export const changesQuery = (rule_id: string) =>
  queryOptions({
    queryKey: ["rules", rule_id, "changes"],
    queryFn: ({ signal }) => take(api.GET("/api/v1/rules/{rule_id}/changes", { params: of(rule_id), signal })),
  });

/** Of each rule whether it runs. It is asked again seldom: the answer changes with the content, not by itself. */
export const loadQuery = queryOptions({
  queryKey: ["rules-load"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/rules/load", { signal })),
  refetchInterval: 60_000,
});

export const coverageQuery = queryOptions({
  queryKey: ["coverage"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/rules/coverage", { signal })),
  // While the server still runs rules' own tests, the answer grows.
  refetchInterval: (query) => (query.state.data?.being_tested ? 2_000 : 60_000),
});

/** ATT&CK's techniques by id. They change with the packs only. */
export const techniquesQuery = queryOptions({
  queryKey: ["techniques"],
  queryFn: async ({ signal }) => {
    const { items } = await take(api.GET("/api/v1/rules/techniques", { signal }));
    return new Map(items.map((t) => [t.id, t]));
  },
  staleTime: Infinity,
});

/** Afterwards everything that shows the rule is asked again. */
function useChange<V, R>(change: (values: V) => Promise<R>, ...keys: string[]) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => {
      for (const key of keys) void client.invalidateQueries({ queryKey: [key] });
    },
  });
}

export const useSimulate = (rule_id: string) =>
  useChange(() => take(api.POST("/api/v1/rules/{rule_id}/simulation", { params: of(rule_id) })));

export const useRunOver = (rule_id: string) =>
  useChange((body: RunOver) => take(api.POST("/api/v1/rules/{rule_id}/runs", { params: of(rule_id), body })), "rules", "incidents");

export const useRunCases = (rule_id: string) =>
  useChange(() => take(api.POST("/api/v1/rules/{rule_id}/tests", { params: of(rule_id) })), "rules", "coverage");

export const usePreviewExclusion = (rule_id: string) =>
  useChange((conditions: NewCondition[]) =>
    take(api.POST("/api/v1/rules/{rule_id}/exclusions/preview", { params: of(rule_id), body: { conditions } })),
  );

export const useExclude = (rule_id: string) =>
  useChange(
    (body: { conditions: NewCondition[]; reason: string; expires: string | null }) =>
      take(api.POST("/api/v1/rules/{rule_id}/exclusions", { params: of(rule_id), body })),
    "rules",
  );

export const useInclude = (rule_id: string) =>
  useChange(
    (exclusion_id: string) =>
      take(api.DELETE("/api/v1/rules/{rule_id}/exclusions/{exclusion_id}", { params: { path: { rule_id, exclusion_id } } })),
    "rules",
  );

export const useTune = (rule_id: string) =>
  useChange((body: TuningPatch) => take(api.PATCH("/api/v1/rules/{rule_id}/tuning", { params: of(rule_id), body })), "rules");

export const useUndoChange = (rule_id: string) =>
  useChange(
    (seq: number) => take(api.POST("/api/v1/rules/{rule_id}/changes/{seq}/undo", { params: { path: { rule_id, seq } } })),
    "rules",
    "coverage",
  );

export const useSwitchRules = () =>
  useChange(
    (body: { ids: string[]; enabled: boolean; reason: string }) => take(api.POST("/api/v1/rules/switch", { body })),
    "rules",
    "coverage",
  );

// ------------------------------------------------------------------ threat reports

export const threatReportsQuery = queryOptions({
  queryKey: ["threat-reports"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/threat-reports", { signal })),
  refetchInterval: CALM,
});

export const threatReportQuery = (report_id: string) =>
  queryOptions({
    queryKey: ["threat-reports", report_id],
    queryFn: ({ signal }) => take(api.GET("/api/v1/threat-reports/{report_id}", { params: { path: { report_id } }, signal })),
    refetchInterval: CALM,
  });

export const useImportReports = () =>
  useChange(
    (body: { bundle: string; dry_run: boolean }) => take(api.POST("/api/v1/threat-reports/import", { body: { ...body, least: null } })),
    "threat-reports",
    "incidents",
  );

export const useRemoveReport = () =>
  useChange(
    (report_id: string) => take(api.DELETE("/api/v1/threat-reports/{report_id}", { params: { path: { report_id } } })),
    "threat-reports",
    "incidents",
  );

// ------------------------------------------------------------------ watchlists

export const watchlistsQuery = queryOptions({
  queryKey: ["watchlists"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/watchlists", { signal })),
  refetchInterval: CALM,
});

export const watchlistQuery = (alias: string, page: { skip: number; limit: number; q: string }) =>
  queryOptions({
    queryKey: ["watchlists", alias, page],
    queryFn: ({ signal }) => take(api.GET("/api/v1/watchlists/{alias}", { params: { path: { alias }, query: page }, signal })),
    placeholderData: keepPreviousData,
  });

export const watchlistHistoryQuery = (alias: string) =>
  queryOptions({
    queryKey: ["watchlists", alias, "history"],
    queryFn: ({ signal }) => take(api.GET("/api/v1/watchlists/{alias}/history", { params: { path: { alias } }, signal })),
  });

export const usePreviewWatchlist = () =>
  useChange((body: { alias: string; csv: string; search_key: string }) => take(api.POST("/api/v1/watchlists/preview", { body })));

export const useImportWatchlist = () =>
  useChange(
    ({ alias, ...body }: { alias: string; csv: string; search_key: string }) =>
      take(api.PUT("/api/v1/watchlists/{alias}", { params: { path: { alias } }, body })),
    "watchlists",
  );

export const useDeleteWatchlist = () =>
  useChange((alias: string) => take(api.DELETE("/api/v1/watchlists/{alias}", { params: { path: { alias } } })), "watchlists");

/** Add an item (without an id), change one, or remove one (without values). */
export const useChangeItem = (alias: string) =>
  useChange(async ({ id, values }: { id?: string; values?: Record<string, string> }) => {
    if (id === undefined) {
      await take(api.POST("/api/v1/watchlists/{alias}/items", { params: { path: { alias } }, body: { values: values ?? {} } }));
    } else if (values === undefined) {
      await take(api.DELETE("/api/v1/watchlists/{alias}/items/{item_id}", { params: { path: { alias, item_id: id } } }));
    } else {
      await take(api.PATCH("/api/v1/watchlists/{alias}/items/{item_id}", { params: { path: { alias, item_id: id } }, body: { values } }));
    }
  }, "watchlists");

// ------------------------------------------------------------------ anomalies

export const anomaliesQuery = queryOptions({
  queryKey: ["anomalies"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/anomalies", { signal })),
  refetchInterval: CALM,
});

export const readinessQuery = (anomaly_id: string, q: string) =>
  queryOptions({
    queryKey: ["anomalies", anomaly_id, "readiness", q],
    queryFn: ({ signal }) =>
      take(api.GET("/api/v1/anomalies/{anomaly_id}/readiness", { params: { path: { anomaly_id }, query: { q } }, signal })),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });

/** Rows of a query, newest first as it sorts them: columns by name. */
export const rowsQuery = (query: string) =>
  queryOptions({
    queryKey: ["rows", query],
    queryFn: async ({ signal }) => {
      const answer = await take(api.POST("/api/v1/query", { body: { query }, signal }));
      return answer.rows.map((row) => Object.fromEntries(answer.columns.map((c, i) => [c.name, row[i]])) as Record<string, unknown>);
    },
    refetchInterval: CALM,
  });
