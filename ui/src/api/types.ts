/** The API's shapes by short names; `schema.d.ts` is generated from `openapi.json` (`npm run api`). */
import type { components } from "./schema";

type S = components["schemas"];

export type Severity = S["AlertBrief"]["severity"];
export const SEVERITIES: readonly Severity[] = ["High", "Medium", "Low", "Informational"];
export type Status = S["IncidentSummary"]["status"];
/** Those that an analyst may set; Redirected comes of a merge. */
export const STATUSES: readonly NonNullable<S["IncidentPatch"]["status"]>[] = ["New", "InProgress", "Resolved"];

export type Session = S["Session"];
export type Reason = S["Reason"];
export type Entity = S["EntityShape"];
export type EvidenceRow = S["EventRow"];
export type Alert = S["AlertDetail"];
export type IncidentSummary = S["IncidentSummary"];
export type IncidentPage = S["IncidentPage"];
export type Incident = S["Incident"];
export type MergeRequest = S["MergeRequest"];
export type MergePreview = S["MergePreview"];
export type MovedAway = S["MovedAway"];
export type MoveRequest = S["MoveRequest"];
export type GroupPatch = S["GroupPatch"];
export type IncidentPatch = S["IncidentPatch"];
export type Classification = NonNullable<S["IncidentSummary"]["classification"]>;
export type Determination = NonNullable<S["IncidentSummary"]["determination"]>;
export type FoldedStep = S["FoldedStep"];
export type Graph = S["Graph"];
export type Activity = S["Activity"];
export type IncidentTask = S["IncidentTask"];
export type Narrative = S["Narrative"];
export type Reached = S["Reached"];
export type ReachFound = S["ReachFound"];
export type Weight = S["Weight"];
export type WeightValues = S["WeightValues"];
export type NewWeights = S["NewWeights"];
export type Weights = S["Weights"];
export type WeightsPreview = S["WeightsPreview"];
export type Process = S["Process"];

export type QueryAnswer = S["QueryAnswer"];
export type QueryColumn = S["QueryColumn"];
export type Diagnostic = S["Diagnostic"];
export type TextRange = S["TextRange"];
export type Schema = S["Schema"];
export type SchemaTable = S["SchemaTable"];
export type SchemaFunction = S["SchemaFunction"];

export type RuleSummary = S["RuleSummary"];
export type Rule = S["Rule"];
export type NewRule = S["NewRule"];

export type Source = S["Source"];
export type DeadLetter = S["DeadLetter"];
export type DeadLetterPage = S["DeadLetterPage"];
export type Replay = S["Replay"];
export type Transform = S["Transform"];
export type NewTransform = S["NewTransform"];
export type PreviewRows = S["PreviewRows"];

export type Action = S["Action"];
export type ActionStatus = Action["status"];
export type ActionKind = S["ActionKind"];

export type User = S["User"];
export type Token = S["Token"];
export type MadeToken = S["MadeToken"];
export type AuditRow = S["AuditRow"];
export type AutomationRule = S["AutomationRule"];
export type Role = S["NewUser"]["roles"][number];

export type NoiseWeek = S["NoiseWeek"];
export type NoiseBudget = S["NoiseBudget"];
export type RunEntry = S["RunEntry"];
export type HitRow = S["HitRow"];
export type Exclusion = S["Exclusion"];
export type NewCondition = S["Condition"];
export type ExclusionPreview = S["ExclusionPreview"];
export type TuningPatch = S["TuningPatch"];
export type RunOver = S["RunOver"];
export type SimulatedWindow = S["SimulatedWindow"];
export type SimulatedAlert = S["SimulatedAlert"];
export type RuleCase = S["RuleCase"];
export type RuleChange = S["RuleChange"];
export type LoadedRule = S["LoadedRule"];
export type FileProblem = S["FileProblem"];
export type CoveredTechnique = S["CoveredTechnique"];
export type CoveringRule = S["CoveringRule"];
export type CoverageGap = S["Gap"];
export type Watchlist = S["Watchlist"];
export type WatchlistItem = S["WatchlistItem"];
export type WatchlistPreview = S["WatchlistPreview"];
export type AnomalyRule = S["AnomalyRule"];
export type EntityReadiness = S["EntityReadiness"];
export type ThreatReportDetail = S["ThreatReportDetail"];
export type ReportsImported = S["ReportsImported"];
