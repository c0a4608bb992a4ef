import { Button, Input } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { threatReportsQuery } from "~/api/ruleQueries";
import { useMay } from "~/app/permissions";
import { AddRegular, DocumentRegular, SearchRegular } from "~/components/icons";
import { None, Time } from "~/components/marks";
import { Card, Page } from "~/components/Page";
import sheet from "~/components/Sheet.module.css";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { count, number } from "~/lib/text";
import { ImportReports } from "./ImportReports";

/** What is known of threats, and which incidents look like it; those with open incidents first. */
export function ReportsPage() {
  const search = useSearch({ from: "/signed-in/threat-reports" });
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(threatReportsQuery);
  const may = useMay("rules.write");
  const set = (change: Partial<typeof search>) => void navigate({ to: "/threat-reports", search: { ...search, ...change }, replace: true });
  const needle = (search.q ?? "").toLowerCase();
  const all = data?.items ?? [];
  const shown = all.filter((r) => `${r.name} ${r.threat} ${r.author} ${r.pack}`.toLowerCase().includes(needle));
  const active = all.filter((r) => r.open_incidents).length;
  return (
    <Page
      title="Threat reports"
      note={data ? `${count(all.length, "report")}, ${active ? `${active} with open incidents` : "none with open incidents"}` : " "}
      actions={
        may ? (
          <Button icon={<AddRegular />} appearance="primary" onClick={() => set({ make: true })}>
            Import
          </Button>
        ) : null
      }
    >
      {error && !data ? <ProblemBar error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <LoadingRows /> : null}
      {all.length ? (
        <>
          <Input
            type="search"
            aria-label="Filter threat reports"
            placeholder="Name, threat, author"
            contentBefore={<SearchRegular />}
            value={search.q ?? ""}
            onChange={(_, d) => set({ q: d.value || undefined })}
            className={sheet.search}
          />
          <Card className={sheet.scroll}>
            <table className={sheet.table}>
              <caption className="visually-hidden">Threat reports</caption>
              <thead>
                <tr>
                  <th scope="col">Report</th>
                  <th scope="col">Threat</th>
                  <th scope="col" className={sheet.number}>
                    Open incidents
                  </th>
                  <th scope="col" className={sheet.number}>
                    Incidents
                  </th>
                  <th scope="col" className={sheet.number}>
                    Indicators
                  </th>
                  <th scope="col" className={sheet.number}>
                    Techniques
                  </th>
                  <th scope="col">Published</th>
                  <th scope="col">From</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((report) => (
                  <tr key={report.id}>
                    <th scope="row">
                      <Link to="/threat-reports/$id" params={{ id: report.id }} className={sheet.link}>
                        <bdi>{report.name}</bdi>
                      </Link>
                    </th>
                    <td>{report.threat || <None>not said</None>}</td>
                    <td className={sheet.number}>
                      {report.open_incidents ? (
                        <Link to="/incidents" search={{ tag: report.tag }} className={sheet.link}>
                          {number(report.open_incidents)}
                        </Link>
                      ) : (
                        "0"
                      )}
                    </td>
                    <td className={sheet.number}>{number(report.incidents)}</td>
                    <td className={sheet.number}>{number(report.indicator_count)}</td>
                    <td className={sheet.number}>{number(report.technique_count)}</td>
                    <td className={sheet.short}>{report.published ? <Time value={report.published} /> : <None>not said</None>}</td>
                    <td>{report.author || (report.pack === "site" ? "your own" : `pack ${report.pack}`)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            {shown.length ? null : <Empty icon={<DocumentRegular />} title="No report matches" text="Loosen the filter." />}
          </Card>
        </>
      ) : null}
      {data && !all.length ? (
        <Card>
          <Empty
            icon={<DocumentRegular />}
            title="No threat report"
            text="Import what a CERT, MISP or OpenCTI gives away as STIX 2: incidents that look like it are tagged with it."
          />
        </Card>
      ) : null}
      {search.make && may ? <ImportReports close={() => set({ make: undefined })} /> : null}
    </Page>
  );
}
