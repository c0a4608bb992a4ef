import { keepPreviousData, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, isConflict, Problem, take } from "./client";
import type { paths } from "./schema";
import type {
  FoldedStep,
  Incident,
  IncidentPatch,
  IncidentSummary,
  MergeRequest,
  MoveRequest,
  NewRule,
  NewTransform,
  NewWeights,
  Replay,
  Session,
  WeightValues,
} from "./types";

// How often a visible page asks again. The queue is what an analyst stares at; the rest may lag a little.
const LIVE = 5_000;
const CALM = 15_000;

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async (): Promise<Session | null> => {
    try {
      return await take(api.GET("/api/v1/session"));
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 60_000,
  retry: 1,
});

export type IncidentFilter = NonNullable<paths["/api/v1/incidents"]["get"]["parameters"]["query"]>;

export const incidentsQuery = (filter: IncidentFilter) =>
  queryOptions({
    queryKey: ["incidents", filter],
    // The list shows no alerts: they are most of what a page would weigh.
    queryFn: ({ signal }) => take(api.GET("/api/v1/incidents", { params: { query: { ...filter, alerts: 0 } }, signal })),
    refetchInterval: LIVE,
    placeholderData: keepPreviousData,
  });

/** What incidents can be filtered by: the values that any has. */
export const incidentFiltersQuery = queryOptions({
  queryKey: ["incidents", "filters"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/filters", { signal })),
  staleTime: 60_000,
});

/** All incidents that a filter leaves, at most so many, in its order. */
export async function everyIncident(filter: IncidentFilter, most: number): Promise<IncidentSummary[]> {
  const rows: IncidentSummary[] = [];
  let after = "";
  do {
    const query = { ...filter, alerts: 0, limit: Math.min(500, most - rows.length), offset: 0, after };
    const page = await take(api.GET("/api/v1/incidents", { params: { query } }));
    rows.push(...page.items);
    after = page.next;
  } while (after && rows.length < most);
  return rows;
}

export const incidentQuery = (incident_id: string) =>
  queryOptions({
    queryKey: ["incident", incident_id],
    queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/{incident_id}", { params: { path: { incident_id } }, signal })),
    refetchInterval: LIVE,
  });

/** The rows that prove an alert which came without them. They don't change. */
export const evidenceQuery = (incident_id: string, alert: { id: string; events_left_out: number }) =>
  queryOptions({
    queryKey: ["incident-evidence", incident_id, alert.id],
    enabled: alert.events_left_out > 0,
    queryFn: async ({ signal }) => {
      const query = { alert: alert.id };
      const page = await take(api.GET("/api/v1/incidents/{incident_id}/alerts", { params: { path: { incident_id }, query }, signal }));
      return page.items[0]?.events ?? [];
    },
    staleTime: Number.POSITIVE_INFINITY,
  });

/** The alerts of an incident that have words and a severity: looked for by the server, in all of them and their evidence. */
export const foundAlertsQuery = (incident_id: string, wanted: { q: string; severity: string }, enabled: boolean) =>
  queryOptions({
    queryKey: ["incident", incident_id, "found", wanted],
    enabled,
    queryFn: async ({ signal }) => {
      const found: { id: string }[] = [];
      let after = "";
      for (;;) {
        const query = { ...wanted, after, evidence: false, limit: 1000 };
        const page = await take(api.GET("/api/v1/incidents/{incident_id}/alerts", { params: { path: { incident_id }, query }, signal }));
        found.push(...page.items);
        if (!page.next) return found;
        after = page.next;
      }
    },
    placeholderData: keepPreviousData,
  });

export const rulesQuery = queryOptions({
  queryKey: ["rules"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/rules", { signal })),
  refetchInterval: CALM,
});

export const ruleQuery = (rule_id: string) =>
  queryOptions({
    queryKey: ["rules", rule_id],
    queryFn: ({ signal }) => take(api.GET("/api/v1/rules/{rule_id}", { params: { path: { rule_id } }, signal })),
  });

export const tablesQuery = queryOptions({
  queryKey: ["tables"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/tables", { signal })),
  refetchInterval: LIVE,
});

export const sourcesQuery = queryOptions({
  queryKey: ["sources"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/sources", { signal })),
  refetchInterval: LIVE,
});

export const deadLettersQuery = (limit: number) =>
  queryOptions({
    queryKey: ["dead-letters", limit],
    queryFn: ({ signal }) => take(api.GET("/api/v1/dead-letters", { params: { query: { limit } }, signal })),
    refetchInterval: CALM,
  });

export const deadLetterQuery = (letter_id: string) =>
  queryOptions({
    queryKey: ["dead-letter", letter_id],
    queryFn: ({ signal }) => take(api.GET("/api/v1/dead-letters/{letter_id}", { params: { path: { letter_id } }, signal })),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** Send dead letters through intake again; afterwards lists and counts are asked anew. */
export function useReplay() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: Replay) => take(api.POST("/api/v1/dead-letters/replay", { body })),
    onSettled: () => {
      for (const key of ["dead-letters", "tables"]) void client.invalidateQueries({ queryKey: [key] });
    },
  });
}

export const transformsQuery = queryOptions({
  queryKey: ["transforms"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/transforms", { signal })),
  refetchInterval: LIVE,
});

export const streamsQuery = queryOptions({
  queryKey: ["transforms", "streams"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/transforms/streams", { signal })),
});

export function usePreviewTransform() {
  return useMutation({ mutationFn: (body: NewTransform) => take(api.POST("/api/v1/transforms/preview", { body })) });
}

export function useSaveTransform() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: NewTransform) => take(api.POST("/api/v1/transforms", { body })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["transforms"] }),
  });
}

export function useChangeTransform() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async ({ id, what }: { id: string; what: "on" | "off" | "undo" | "remove" }) => {
      const path = { transform_id: id };
      if (what === "undo") await take(api.POST("/api/v1/transforms/{transform_id}/undo", { params: { path } }));
      else if (what === "remove") await take(api.DELETE("/api/v1/transforms/{transform_id}", { params: { path } }));
      else await take(api.PATCH("/api/v1/transforms/{transform_id}", { params: { path }, body: { enabled: what === "on" } }));
    },
    onSettled: () => client.invalidateQueries({ queryKey: ["transforms"] }),
  });
}

export type ActionFilter = NonNullable<paths["/api/v1/actions"]["get"]["parameters"]["query"]>;

export const actionsQuery = (filter: ActionFilter = {}) =>
  queryOptions({
    queryKey: ["actions", filter],
    queryFn: ({ signal }) => take(api.GET("/api/v1/actions", { params: { query: filter }, signal })),
    refetchInterval: LIVE,
    placeholderData: keepPreviousData,
  });

export const actionKindsQuery = queryOptions({
  queryKey: ["action-kinds"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/action-kinds", { signal })),
  staleTime: 60_000,
});

export const schemaQuery = queryOptions({
  queryKey: ["schema"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/schema", { signal })),
  staleTime: 60_000,
});

export const usersQuery = queryOptions({
  queryKey: ["users"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/users", { signal })),
  staleTime: 30_000,
});

export const groupsQuery = queryOptions({
  queryKey: ["groups"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/groups", { signal })),
  staleTime: 30_000,
});

export const tokensQuery = queryOptions({
  queryKey: ["tokens"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/tokens", { signal })),
});

export const auditQuery = (limit: number) =>
  queryOptions({
    queryKey: ["audit", limit],
    queryFn: ({ signal }) => take(api.GET("/api/v1/audit", { params: { query: { limit } }, signal })),
    refetchInterval: CALM,
  });

export const weightsQuery = queryOptions({
  queryKey: ["weights"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/weights", { signal })),
});

export const weightsHistoryQuery = queryOptions({
  queryKey: ["weights", "history"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/weights/history", { signal })),
});

export const tuningQuery = queryOptions({
  queryKey: ["weights", "tuning"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/tuning", { signal })),
});

/** What other weights would change in the open incidents. Changes nothing. */
export function usePreviewWeights() {
  return useMutation({ mutationFn: (body: WeightValues) => take(api.POST("/api/v1/incidents/weights/preview", { body })) });
}

export function useSetWeights() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: NewWeights) => take(api.PUT("/api/v1/incidents/weights", { body })),
    onSettled: () => reweighed(client),
  });
}

export function useUndoWeights() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (entry: number) => take(api.POST("/api/v1/incidents/weights/history/{entry}/undo", { params: { path: { entry } } })),
    onSettled: () => reweighed(client),
  });
}

function reweighed(client: ReturnType<typeof useQueryClient>) {
  for (const key of ["weights", "incidents", "incident"]) void client.invalidateQueries({ queryKey: [key] });
}

export const automationQuery = queryOptions({
  queryKey: ["automation-rules"],
  queryFn: ({ signal }) => take(api.GET("/api/v1/automation-rules", { signal })),
  refetchInterval: CALM,
});

/** The tag of an incident that correlation leaves as it is. */
export const LOCKED = "Locked";

/** Members of which one value holds: who changes them must have seen the newest. Tags and notes only add up. */
const EXCLUSIVE = ["status", "severity", "owner", "classification", "determination", "title"] as const;

/** A change with the version that it is based on, where it would overwrite what somebody else did meanwhile. */
export const basedOn = (change: IncidentPatch, version: number | undefined): IncidentPatch =>
  EXCLUSIVE.some((name) => name in change) ? { version, ...change } : change;

/** Whether a change would overwrite what somebody else decided: that it isn't as it was seen any more. */
export const overwrites = (change: IncidentPatch, seen: IncidentSummary, now: IncidentSummary): boolean =>
  EXCLUSIVE.some((name) => name in change && (now[name] ?? null) !== (seen[name] ?? null));

/** What was shown when a change was asked for. */
const seenAt = new WeakMap<IncidentPatch, Incident>();
/** What a dialog was opened on in which a change was decided, though the page behind it has asked again since. */
const openedOn = new WeakMap<IncidentPatch, Incident>();
const ATTEMPTS = 5;

/**
 * Change an incident upon what was seen of it. That it grew meanwhile, or that something else of it was changed, is no reason to refuse: then it
 * is tried again upon what it is now.
 */
export async function changeUpon(seen: IncidentSummary, change: IncidentPatch, from = seen.version): Promise<Incident> {
  let version = from;
  for (let attempt = 1; ; attempt++) {
    try {
      return await patchIncident(seen.id, basedOn(change, version));
    } catch (error) {
      if (!isConflict(error) || attempt === ATTEMPTS) throw error;
      const now = await take(api.GET("/api/v1/incidents/{incident_id}", { params: { path: { incident_id: seen.id } } }));
      if (overwrites(change, seen, now)) throw error;
      version = now.version;
    }
  }
}

/** The change, decided upon what was seen then. */
export function decidedUpon(seen: Incident, change: IncidentPatch): IncidentPatch {
  openedOn.set(change, seen);
  return change;
}

/**
 * Change an incident; the page shows it at once, and the server's answer replaces the guess. What an analyst decided upon an older state is
 * refused (409) when somebody changed the same meanwhile. An incident that only grew, as it does in the middle of an attack, is no reason to
 * refuse: then it is tried again upon what it is now. Changes of one incident go one after another, each based on the answer to the one
 * before. What is decided in a dialog says with `decidedUpon` what that was opened on.
 */
export function useChangeIncident(incident_id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async (change: IncidentPatch) => {
      const opened = openedOn.get(change);
      if (opened) return await changeUpon(opened, change);
      const seen = seenAt.get(change);
      const version = client.getQueryData(incidentQuery(incident_id).queryKey)?.version;
      return await (seen ? changeUpon(seen, change, version) : patchIncident(incident_id, basedOn(change, version)));
    },
    scope: { id: `incident-${incident_id}` },
    onSuccess: (incident) => client.setQueryData(incidentQuery(incident_id).queryKey, incident),
    onMutate: async (change) => {
      const key = incidentQuery(incident_id).queryKey;
      await client.cancelQueries({ queryKey: key });
      const before = client.getQueryData(key);
      if (before) {
        seenAt.set(change, before);
        const { add_tags = [], remove_tags = [], comment: _, version: __, locked, status, severity, title, roles, ...plain } = change;
        // A role set to null is taken away.
        const held = Object.entries({ ...before.roles, ...roles }).filter((e): e is [string, string] => e[1] !== null);
        const gone = locked === false ? [...remove_tags, LOCKED] : remove_tags;
        const came = locked ? [...add_tags, LOCKED] : add_tags;
        const tags = [...before.tags.filter((t) => !gone.includes(t)), ...came.filter((t) => !before.tags.includes(t))];
        client.setQueryData(key, {
          ...before,
          ...plain,
          status: status ?? before.status,
          severity: severity ?? before.severity,
          title: title ?? before.title,
          roles: Object.fromEntries(held),
          tags,
        });
      }
      return { before };
    },
    onError: (_error, _change, context) => {
      if (context?.before) client.setQueryData(incidentQuery(incident_id).queryKey, context.before);
    },
    onSettled: () => {
      void client.invalidateQueries({ queryKey: ["incident", incident_id] });
      void client.invalidateQueries({ queryKey: ["incidents"] });
    },
  });
}

export const patchIncident = (incident_id: string, body: IncidentPatch) =>
  take(api.PATCH("/api/v1/incidents/{incident_id}", { params: { path: { incident_id } }, body }));

/** What merging incidents into one would give. Asked anew whenever the choice changes; nothing is changed by asking. */
export const mergePreviewQuery = (incident_id: string, sources: string[]) =>
  queryOptions({
    queryKey: ["merge-preview", incident_id, sources],
    queryFn: ({ signal }) =>
      take(
        api.POST("/api/v1/incidents/{incident_id}/merge/preview", {
          params: { path: { incident_id } },
          body: { sources, reason: "" },
          signal,
        }),
      ),
    retry: false,
    staleTime: 0,
  });

/** Merge incidents into one. Afterwards everything that shows any of them is asked again. */
export function useMerge() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ into, ...body }: MergeRequest & { into: string }) =>
      take(api.POST("/api/v1/incidents/{incident_id}/merge", { params: { path: { incident_id: into } }, body })),
    onSettled: () => reshaped(client),
  });
}

/** The newest merge into an incident that can be taken back, as an action. */
export async function newestMerge(incident_id: string): Promise<string | undefined> {
  const query = { incident_id, scope: "all", kind: "incident.merge" } as const;
  const found = await take(api.GET("/api/v1/actions", { params: { query } }));
  return found.items.find((a) => a.undoable)?.id;
}

/** Move alerts of an incident elsewhere. */
export function useMoveAlerts(incident_id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: MoveRequest) =>
      take(api.POST("/api/v1/incidents/{incident_id}/move-alerts", { params: { path: { incident_id } }, body })),
    onSettled: () => reshaped(client),
  });
}

function reshaped(client: ReturnType<typeof useQueryClient>) {
  for (const key of ["incidents", "incident", "actions"]) void client.invalidateQueries({ queryKey: [key] });
}

export function useComment(incident_id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (text: string) =>
      take(api.POST("/api/v1/incidents/{incident_id}/comments", { params: { path: { incident_id } }, body: { text } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["incident", incident_id] }),
  });
}

/** What the incident means. Made anew from what it is now: asked again when it changed (`version`). */
export const narrativeQuery = (incident_id: string, version: number) =>
  queryOptions({
    queryKey: ["incident", incident_id, "narrative", version],
    queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/{incident_id}/narrative", { params: { path: { incident_id } }, signal })),
    placeholderData: keepPreviousData,
    staleTime: Infinity,
  });

const STEPS = 1_000;

/** The story of all alerts in steps, as the server folds what was told again and again. */
export const storyQuery = (incident_id: string, version: number) =>
  queryOptions({
    queryKey: ["incident", incident_id, "story", version],
    queryFn: async ({ signal }) => {
      const steps: FoldedStep[] = [];
      for (;;) {
        const query = { limit: STEPS, offset: steps.length };
        const page = await take(api.GET("/api/v1/incidents/{incident_id}/story", { params: { path: { incident_id }, query }, signal }));
        steps.push(...page.items);
        if (!page.items.length || steps.length >= page.total) return steps;
      }
    },
    // Of the same incident: another one's steps are never shown for its own.
    placeholderData: (before, query) => (query?.queryKey[1] === incident_id ? before : undefined),
    staleTime: Infinity,
  });

/** What else would join the incident. Asked again when it changed (`version`). */
export const neighboursQuery = (incident_id: string, version: number) =>
  queryOptions({
    queryKey: ["incident", incident_id, "neighbours", version],
    queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/{incident_id}/neighbours", { params: { path: { incident_id } }, signal })),
    staleTime: 30_000,
  });

export const processesQuery = (incident_id: string) =>
  queryOptions({
    queryKey: ["processes", incident_id],
    queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/{incident_id}/processes", { params: { path: { incident_id } }, signal })),
    staleTime: 60_000,
  });

/** What could be reached from the incident's accounts and machines, asked of the tables. */
export const reachQuery = (incident_id: string, version: number) =>
  queryOptions({
    queryKey: ["incident", incident_id, "reach", version],
    queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/{incident_id}/reach", { params: { path: { incident_id } }, signal })),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });

export const priorityHistoryQuery = (incident_id: string, version: number) =>
  queryOptions({
    queryKey: ["incident", incident_id, "priority", version],
    queryFn: ({ signal }) => take(api.GET("/api/v1/incidents/{incident_id}/priority", { params: { path: { incident_id } }, signal })),
    placeholderData: keepPreviousData,
    staleTime: Infinity,
  });

export type TaskChange = { add: { title: string; description: string } } | { task: number; done: boolean } | { task: number; remove: true };

/** Add a task, say whether one is done, or take one away; the answer is the whole incident. */
export function useTasks(incident_id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (change: TaskChange) => {
      if ("add" in change) {
        return take(api.POST("/api/v1/incidents/{incident_id}/tasks", { params: { path: { incident_id } }, body: change.add }));
      }
      const params = { path: { incident_id, task: change.task } };
      return "done" in change
        ? take(api.PATCH("/api/v1/incidents/{incident_id}/tasks/{task}", { params, body: { done: change.done } }))
        : take(api.DELETE("/api/v1/incidents/{incident_id}/tasks/{task}", { params }));
    },
    onSuccess: (incident) => client.setQueryData(incidentQuery(incident_id).queryKey, incident),
    onSettled: () => reshaped(client),
  });
}

export type Decision = "approve" | "reject" | "undo";

export function useDecide() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, decision, comment }: { id: string; decision: Decision; comment: string }) => {
      const options = { params: { path: { action_id: id } }, body: { comment } };
      switch (decision) {
        case "approve":
          return take(api.POST("/api/v1/actions/{action_id}/approve", options));
        case "reject":
          return take(api.POST("/api/v1/actions/{action_id}/reject", options));
        case "undo":
          return take(api.POST("/api/v1/actions/{action_id}/undo", options));
      }
    },
    onSettled: () => {
      reshaped(client);
    },
  });
}

export function usePropose() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: { kind: string; input: Record<string, unknown>; incident_id?: string; comment?: string }) =>
      take(api.POST("/api/v1/actions", { body })),
    onSettled: () => {
      reshaped(client);
    },
  });
}

export function useToggleRule() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, enabled }: { id: string; enabled: boolean }) =>
      take(api.PATCH("/api/v1/rules/{rule_id}", { params: { path: { rule_id: id } }, body: { enabled } })),
    onMutate: ({ id, enabled }) => {
      client.setQueryData(
        rulesQuery.queryKey,
        (old) => old && { ...old, items: old.items.map((r) => (r.id === id ? { ...r, enabled } : r)) },
      );
      client.setQueryData(ruleQuery(id).queryKey, (old) => old && { ...old, enabled });
    },
    onSettled: () => client.invalidateQueries({ queryKey: ["rules"] }),
  });
}

export function useCreateRule() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: NewRule) => take(api.POST("/api/v1/rules", { body })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["rules"] }),
  });
}
