import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { processesQuery } from "~/api/queries";
import type { Incident, Process } from "~/api/types";
import { usePreferences } from "~/app/preferences";
import { ShieldErrorRegular, WindowConsoleRegular } from "~/components/icons";
import { Long } from "~/components/Long";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { count, unturned } from "~/lib/text";
import { parseTime, timeParts } from "~/lib/time";
import css from "./Tabs.module.css";

/** Who started whom on the incident's hosts, near its alerts: made of rows by process id and start time. */
export function ProcessesTab({
  incident,
  chosen,
  openAlert,
}: {
  incident: Incident;
  /** The alert whose processes are looked for. */
  chosen?: string;
  openAlert: (id: string) => void;
}) {
  const { data, error, refetch } = useQuery(processesQuery(incident.id));
  const list = useRef<HTMLUListElement>(null);
  // The first process of the chosen alert comes into view, and the keys go on from there.
  useEffect(() => {
    const found = chosen ? list.current?.querySelector<HTMLElement>("[aria-current]") : null;
    found?.scrollIntoView({ block: "center" });
    found?.focus({ preventScroll: true });
  }, [chosen, data === undefined]);
  if (!data) return error ? <ProblemBar error={error} retry={() => void refetch()} /> : <LoadingRows label="Loading the processes" />;
  const titles = new Map(incident.alerts.map((a) => [a.id, a.title || a.rule]));
  const title = chosen ? titles.get(chosen) : undefined;
  return (
    <Card>
      {data.trees.length ? (
        <>
          <p className={css.none}>
            Solid links are certain (by start time or unique id), dashed ones follow from the process id alone.
            {data.left_out ? ` ${count(data.left_out, "further process", "further processes")} not shown.` : ""}
            {data.hosts_left_out ? ` ${count(data.hosts_left_out, "further host")} not asked.` : ""}
            {data.ends_known ? "" : " You may not read the tables of event logs, which tell when processes ended and of some starts."}
            {data.truncated ? " There were more rows than a query gives: the trees may lack some." : ""}
          </p>
          {chosen && title && !data.trees.some((tree) => about(tree, chosen)) ? (
            <p className={css.none}>
              No process that is shown here is what “{unturned(title)}” is about: no row tells of its start, or it has no id.
            </p>
          ) : null}
          <ul ref={list} className={css.tree} role="tree" aria-label="Process trees" onKeyDown={walk}>
            {data.trees.map((tree) => (
              <Node
                key={`${tree.host} ${tree.pid} ${tree.started} ${tree.command}`}
                node={tree}
                titles={titles}
                chosen={chosen}
                openAlert={openAlert}
                level={1}
              />
            ))}
          </ul>
        </>
      ) : (
        <Empty
          icon={<WindowConsoleRegular />}
          title="No process tree"
          text={`No stored row tells of a process's start with its id on ${data.hosts.length ? data.hosts.slice(0, 3).join(", ") : "the incident's hosts"} around the time of its alerts: it may not be collected, be out of retention, or have come without ids.`}
        />
      )}
    </Card>
  );
}

function Node({
  node,
  titles,
  chosen,
  openAlert,
  level,
}: {
  node: Process;
  titles: Map<string, string>;
  chosen?: string;
  openAlert: (id: string) => void;
  level: number;
}) {
  const [open, setOpen] = useState(true);
  const some = node.children.length > 0;
  const group = useId();
  return (
    <li role="none" data-certain={node.certain || undefined} data-alert={node.alerts.length > 0 || undefined}>
      <div
        className={css.process}
        role="treeitem"
        aria-level={level}
        aria-current={(chosen && node.alerts.includes(chosen)) || undefined}
        aria-expanded={some ? open : undefined}
        aria-owns={some && open ? group : undefined}
        tabIndex={level === 1 ? 0 : -1}
        onKeyDown={(event) => {
          if (event.target !== event.currentTarget || !some) return;
          if (event.key === "ArrowLeft" && open) setOpen(false);
          else if (event.key === "ArrowRight" && !open) setOpen(true);
        }}
      >
        {some ? (
          <button type="button" tabIndex={-1} aria-hidden="true" className={css.fold} onClick={() => setOpen(!open)}>
            {open ? "▾" : "▸"}
          </button>
        ) : (
          <span className={css.fold} />
        )}
        <strong>{node.file || "unknown program"}</strong>
        <span className={css.taskWho}>
          {node.pid ?? "id not told"} · {node.host} · <Life node={node} />
          {node.account ? ` · ${node.account}` : ""}
          {node.seen ? "" : " · known only from what it started"}
        </span>
        {byTitle(node.alerts, titles).map(([title, ids]) => (
          <Button key={title} size="small" appearance="subtle" icon={<ShieldErrorRegular />} onClick={() => openAlert(ids[0] as string)}>
            {title}
            {ids.length > 1 ? ` ×${ids.length}` : ""}
          </Button>
        ))}
        {node.command ? (
          <code>
            <Long text={node.command} most={400} />
          </code>
        ) : null}
      </div>
      {some && open ? (
        <ul role="group" id={group}>
          {node.children.map((child) => (
            <Node
              key={`${child.pid} ${child.started} ${child.command}`}
              node={child}
              titles={titles}
              chosen={chosen}
              openAlert={openAlert}
              level={level + 1}
            />
          ))}
        </ul>
      ) : null}
    </li>
  );
}

/** Whether an alert is about a process of the tree. Trees may be deeper than calls can be. */
function about(tree: Process, alert: string): boolean {
  const left = [tree];
  for (let node = left.pop(); node; node = left.pop()) {
    if (node.alerts.includes(alert)) return true;
    left.push(...node.children);
  }
  return false;
}

/** The alerts of one title together: the first is opened, its neighbours stand beside it in the list. */
function byTitle(alerts: readonly string[], titles: Map<string, string>): [string, string[]][] {
  const found = new Map<string, string[]>();
  for (const id of alerts) {
    const title = titles.get(id) ?? "Alert";
    const ids = found.get(title);
    if (ids) ids.push(id);
    else found.set(title, [id]);
  }
  return [...found];
}

/** From when to when it ran, to the second: the order of things is what a tree is read for. The day is said once. */
function Life({ node }: { node: Process }) {
  const { zone } = usePreferences();
  const [start, end] = [parseTime(node.started), parseTime(node.ended)];
  const sameDay = start && end && timeParts(start, zone).date === timeParts(end, zone).date;
  return (
    <>
      {node.started ? <Time value={node.started} seconds /> : "start not seen"}
      {end ? <> to {sameDay ? <span className="num">{timeParts(end, zone).time}</span> : <Time value={node.ended} seconds />}</> : null}
    </>
  );
}

/** Up and down go through what is shown, as in any tree. */
function walk(event: KeyboardEvent<HTMLElement>) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const items = [...event.currentTarget.querySelectorAll<HTMLElement>('[role="treeitem"]')];
  const next = items[items.indexOf(document.activeElement as HTMLElement) + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
