/** What the pages of the lake ask: tables, jobs over old rows, summary rules, deletions. */
import { keepPreviousData, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, take } from "./client";
import { kqlString } from "~/lib/text";
import type { components } from "./schema";

type S = components["schemas"];

export type TableStats = S["TableStats"];
export type TableDetail = S["TableDetail"];
export type Terms = S["Terms"];
export type SearchJob = S["SearchJob"];
export type JobEstimate = S["Estimate"];
export type SummaryRule = S["SummaryRule"];
export type SummaryInput = S["SummaryInput"];
export type SummaryRun = S["SummaryRun"];
export type ErasurePreview = S["ErasurePreview"];
export type Deletion = S["Deletion"];
export type RetentionPreview = S["RetentionPreview"];

// How often a visible page asks again.
const LIVE = 5_000;

export const tableQuery = (table: string) =>
  queryOptions({
    queryKey: ["tables", table],
    queryFn: ({ signal }) => take(api.GET("/api/v1/tables/{table}", { params: { path: { table } }, signal })),
    refetchInterval: 4 * LIVE,
  });

/** What terms would do to a table; nothing changes by asking. */
export function usePreviewRetention(table: string) {
  return useMutation({
    mutationFn: (body: Terms) => take(api.POST("/api/v1/tables/{table}/retention/preview", { params: { path: { table } }, body })),
  });
}

/** Set how long a table's rows stay; `null` lets the settings hold again. */
export function useKeepTable(table: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: (Terms & { expected: number }) | null) => {
      const params = { path: { table } };
      return body
        ? take(api.PUT("/api/v1/tables/{table}/retention", { params, body }))
        : take(api.DELETE("/api/v1/tables/{table}/retention", { params }));
    },
    onSuccess: (done) => client.setQueryData(tableQuery(table).queryKey, done),
    onSettled: () => client.invalidateQueries({ queryKey: ["tables"] }),
  });
}

export const jobsQuery = queryOptions({
  queryKey: ["search-jobs"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/search-jobs", { signal })),
  // A job that runs is watched; otherwise now and then.
  refetchInterval: (query) => (query.state.data?.items.some(isAtWork) ? 1_000 : 3 * LIVE),
});

export const isAtWork = (job: { status: string }): boolean => job.status === "Queued" || job.status === "Running";

export interface JobRequest {
  kind: "search" | "restore";
  name: string;
  /** The query of a search, the table of a restore. */
  text: string;
  start: string;
  end: string;
  days: number;
}

/** What a job would read; nothing runs. */
export function useEstimate() {
  return useMutation({
    mutationFn: ({ kind, text, start, end }: Pick<JobRequest, "kind" | "text" | "start" | "end">) =>
      take(api.POST("/api/v1/search-jobs/estimate", { body: { kind, text, start, end } })),
  });
}

export function useStartJob() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ kind, name, text, start, end, days }: JobRequest) =>
      kind === "search"
        ? take(api.POST("/api/v1/search-jobs", { body: { name, query: text, start, end } }))
        : take(api.POST("/api/v1/search-jobs/restore", { body: { table: text, name, start, end, days } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["search-jobs"] }),
  });
}

/** Cancel a job that is at work, or remove the rows of one that has ended. */
export function useEndJob() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, what }: { id: string; what: "cancel" | "remove" }) => {
      const params = { path: { job_id: id } };
      return what === "cancel"
        ? take(api.POST("/api/v1/search-jobs/{job_id}/cancel", { params }))
        : take(api.DELETE("/api/v1/search-jobs/{job_id}", { params }));
    },
    onSettled: () => {
      for (const key of ["search-jobs", "tables"]) void client.invalidateQueries({ queryKey: [key] });
    },
  });
}

export const summariesQuery = queryOptions({
  queryKey: ["summary-rules"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/summary-rules", { signal })),
  refetchInterval: 3 * LIVE,
});

export const summaryQuery = (rule_id: string) =>
  queryOptions({
    queryKey: ["summary-rules", rule_id],
    queryFn: ({ signal }) => take(api.GET("/api/v1/summary-rules/{rule_id}", { params: { path: { rule_id } }, signal })),
    refetchInterval: 3 * LIVE,
  });

/** Check a summary rule and run it over the last bin that has ended; nothing is stored. */
export function useTrySummary() {
  return useMutation({ mutationFn: (body: SummaryInput) => take(api.POST("/api/v1/summary-rules/try", { body })) });
}

export function useSaveSummary() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, body }: { id: string | null; body: SummaryInput }) =>
      id
        ? take(api.PUT("/api/v1/summary-rules/{rule_id}", { params: { path: { rule_id: id } }, body }))
        : take(api.POST("/api/v1/summary-rules", { body })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["summary-rules"] }),
  });
}

export function useChangeSummary() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async ({ id, what }: { id: string; what: "on" | "off" | "remove" | { rerun: string } }) => {
      const params = { path: { rule_id: id } };
      if (what === "remove") await take(api.DELETE("/api/v1/summary-rules/{rule_id}", { params }));
      else if (typeof what === "object") {
        await take(api.POST("/api/v1/summary-rules/{rule_id}/rerun", { params, body: { moment: what.rerun } }));
      } else await take(api.PATCH("/api/v1/summary-rules/{rule_id}", { params, body: { enabled: what === "on" } }));
    },
    // What is removed mustn't be asked for again.
    onSettled: (_done, _error, { what }) => client.invalidateQueries({ queryKey: ["summary-rules"], exact: what === "remove" }),
  });
}

/** What a condition would take; nothing goes. */
export function usePreviewErasure() {
  return useMutation({
    mutationFn: (body: { table: string; condition: string }) => take(api.POST("/api/v1/lake/preview", { body })),
  });
}

export const deletionsQuery = queryOptions({
  queryKey: ["deletions"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/lake/deletions", { signal })),
  refetchInterval: 6 * LIVE,
});

export const lakeAuditQuery = queryOptions({
  queryKey: ["audit", "lake"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/audit", { params: { query: { action: "lake.", limit: 30 } }, signal })),
  refetchInterval: 3 * LIVE,
});

function erased(client: ReturnType<typeof useQueryClient>) {
  for (const key of ["deletions", "audit", "tables"]) void client.invalidateQueries({ queryKey: [key] });
}

export function useDeleteRows() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: S["ErasureOrder"]) => take(api.POST("/api/v1/lake/deletions", { body })),
    onSettled: () => erased(client),
  });
}

export function useUndelete() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (deletion_id: string) => take(api.DELETE("/api/v1/lake/deletions/{deletion_id}", { params: { path: { deletion_id } } })),
    onSettled: () => erased(client),
  });
}

export type IntakeState = S["IntakeState"];
export type TransformDetail = S["TransformDetail"];

export const intakeQuery = queryOptions({
  queryKey: ["intake"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/intake", { signal })),
  refetchInterval: LIVE,
});

export interface LetterFilter {
  code?: string;
  source?: string;
  text?: string;
  limit: number;
}

export const lettersQuery = (filter: LetterFilter) =>
  queryOptions({
    queryKey: ["dead-letters", filter],
    queryFn: ({ signal }) => take(api.GET("/api/v1/dead-letters", { params: { query: filter }, signal })),
    refetchInterval: 3 * LIVE,
    placeholderData: keepPreviousData,
  });

/** What TocsinHealth has of a source in the last day, as a query that can be opened too. */
export const healthText = (kind: string, name: string): string =>
  [
    "TocsinHealth",
    "| where TimeGenerated > ago(1d) and OperationName == 'Source health'",
    `| where SentinelResourceKind == ${kqlString(kind)} and SentinelResourceName == ${kqlString(name)}`,
    "| summarize Events = sum(Events), Errors = sum(Errors), P95 = max(LatencyP95Seconds) by bin(TimeGenerated, 15m)",
    "| sort by TimeGenerated asc",
  ].join("\n");

export const sourceHealthQuery = (kind: string, name: string) =>
  queryOptions({
    queryKey: ["source-health", kind, name],
    queryFn: async ({ signal }) => {
      const found = await take(api.POST("/api/v1/query", { body: { query: healthText(kind, name) }, signal }));
      return found.rows.map((r) => ({
        time: String(r[0]),
        events: Number(r[1]),
        errors: Number(r[2]),
        p95: r[3] === null ? null : Number(r[3]),
      }));
    },
    refetchInterval: 12 * LIVE,
  });

export const transformQuery = (transform_id: string) =>
  queryOptions({
    queryKey: ["transforms", transform_id],
    queryFn: ({ signal }) => take(api.GET("/api/v1/transforms/{transform_id}", { params: { path: { transform_id } }, signal })),
  });
