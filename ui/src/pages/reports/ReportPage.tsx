import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { threatReportQuery, useRemoveReport } from "~/api/ruleQueries";
import type { ThreatReportDetail } from "~/api/types";
import { useMay } from "~/app/permissions";
import { DeleteRegular, ShieldErrorRegular } from "~/components/icons";
import { PriorityChip, SeverityMark, StatusMark, Technique, Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { count } from "~/lib/text";

const SEVERAL = 200;

/** A threat report: what it says, what recognises it, and the incidents that look like it. */
export function ReportPage() {
  const { id } = useParams({ from: "/signed-in/threat-reports/$id" });
  const { data, error, refetch } = useQuery(threatReportQuery(id));
  const may = useMay("rules.write");
  const remove = useRemoveReport();
  const notices = useNotices();
  const navigate = useNavigate();
  return (
    <Page
      title={data?.name ?? "Threat report"}
      note={data ? [data.threat, data.author, data.pack === "site" ? "" : `pack ${data.pack}`].filter(Boolean).join(" · ") || " " : " "}
      actions={
        data?.removable && may ? (
          <Button
            icon={<DeleteRegular />}
            disabled={remove.isPending}
            onClick={() =>
              remove.mutate(id, {
                onSuccess: () => {
                  notices.done("The report is removed", "Its tag is gone from open incidents. Import it again to have it back.");
                  void navigate({ to: "/threat-reports" });
                },
              })
            }
          >
            Remove
          </Button>
        ) : null
      }
    >
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {remove.error ? <ProblemBar error={remove.error} title="The report was not removed" /> : null}
      {!data && !error ? <LoadingRows /> : null}
      {data ? (
        <>
          <Card className={sheet.card} label="What it says">
            {data.description ? <p className={sheet.prose}>{data.description}</p> : null}
            <dl className={sheet.kv}>
              {data.about.length ? (
                <>
                  <dt>About</dt>
                  <dd>{data.about.join("; ")}</dd>
                </>
              ) : null}
              {data.published ? (
                <>
                  <dt>Published</dt>
                  <dd>
                    <Time value={data.published} />
                    {data.modified && data.modified !== data.published ? (
                      <>
                        , changed <Time value={data.modified} />
                      </>
                    ) : null}
                  </dd>
                </>
              ) : null}
              <dt>Tag</dt>
              <dd>{data.tag}</dd>
              <References urls={data.references} />
            </dl>
          </Card>
          <Recognised report={data} />
          <Incidents report={data} />
        </>
      ) : null}
    </Page>
  );
}

function References({ urls }: { urls: string[] }) {
  if (!urls.length) return null;
  return (
    <>
      <dt>References</dt>
      <dd>
        {urls.map((url) =>
          /^https?:\/\//.test(url) ? (
            <a key={url} href={url} target="_blank" rel="noreferrer noopener" className={`${sheet.link} ${sheet.block}`}>
              {url}
            </a>
          ) : (
            <span key={url} className={sheet.block}>
              {url}
            </span>
          ),
        )}
      </dd>
    </>
  );
}

function Recognised({ report }: { report: ThreatReportDetail }) {
  return (
    <Card className={sheet.card} label="What recognises it">
      <h2>What recognises it</h2>
      {report.techniques.length ? (
        <div>
          <p className={sheet.small}>
            {report.least
              ? `${report.least} of ${count(report.techniques.length, "technique")}${report.insists.length ? `, ${report.insists.join(" and ")} among them` : ""}`
              : `${count(report.techniques.length, "technique")}; by them alone no incident matches`}
          </p>
          <p className={sheet.bar}>
            {report.techniques.map((t) => (
              <Technique key={t} id={t} named />
            ))}
          </p>
        </div>
      ) : null}
      {report.indicators.length ? (
        <details open={report.indicators.length <= 20}>
          <summary>
            {count(report.indicator_count, "indicator")}
            {report.indicator_count > report.indicators.length ? `, the first ${report.indicators.length}` : ""}
          </summary>
          <div
            className={sheet.scroll}
            tabIndex={0}
            role="region"
            aria-label="Indicators"
            data-tall={report.indicators.length > SEVERAL || undefined}
          >
            <table className={sheet.table}>
              <thead>
                <tr>
                  <th scope="col">Indicator</th>
                  <th scope="col">Holds until</th>
                </tr>
              </thead>
              <tbody>
                {report.indicators.map((indicator) => (
                  <tr key={indicator.value}>
                    <td>
                      <code>{indicator.value}</code>
                    </td>
                    <td className={sheet.short}>{indicator.until ? <Time value={indicator.until} /> : "always"}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </details>
      ) : (
        <p className={sheet.small}>It names no indicator.</p>
      )}
    </Card>
  );
}

function Incidents({ report }: { report: ThreatReportDetail }) {
  return (
    <Card className={sheet.card} label="Incidents that look like it">
      <div className={sheet.spread}>
        <h2>Incidents that look like it</h2>
        {report.incidents ? (
          <Link to="/incidents" search={{ tag: report.tag, status: "all" }} className={sheet.link}>
            All {report.incidents} in the queue
          </Link>
        ) : null}
      </div>
      {report.items.length ? (
        <div className={sheet.scroll}>
          <table className={sheet.table}>
            <caption className="visually-hidden">Incidents that look like it</caption>
            <thead>
              <tr>
                <th scope="col">Priority</th>
                <th scope="col">Incident</th>
                <th scope="col">Severity</th>
                <th scope="col">Status</th>
                <th scope="col">Last activity</th>
              </tr>
            </thead>
            <tbody>
              {report.items.map((incident) => (
                <tr key={incident.id}>
                  <td>
                    <PriorityChip score={incident.priority} reasons={incident.reasons} />
                  </td>
                  <th scope="row">
                    <Link to="/incidents/$id" params={{ id: incident.id }} className={sheet.link}>
                      #{incident.number} <bdi>{incident.title}</bdi>
                    </Link>
                  </th>
                  <td>
                    <SeverityMark severity={incident.severity} />
                  </td>
                  <td>
                    <StatusMark status={incident.status} />
                  </td>
                  <td className={sheet.short}>
                    <Time value={incident.last} relative />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <Empty icon={<ShieldErrorRegular />} title="No incident looks like it" text="When one does, it is tagged with this report." />
      )}
    </Card>
  );
}
