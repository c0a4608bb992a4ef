import {
  Button,
  Field,
  Input,
  Menu,
  MenuDivider,
  MenuItem,
  MenuItemRadio,
  MenuList,
  MenuPopover,
  MenuTrigger,
  Popover,
  PopoverSurface,
  PopoverTrigger,
  Tooltip,
} from "@fluentui/react-components";
import { useState } from "react";
import {
  CalendarClockRegular,
  ChevronDownRegular,
  HistoryRegular,
  PlayFilled,
  SaveRegular,
  ShareRegular,
  StopRegular,
  TextAlignLeftRegular,
} from "~/components/icons";
import { Time } from "~/components/marks";
import { useMay } from "~/app/permissions";
import { parseCustom, RANGES, rangeLabel } from "~/lib/range";
import { count } from "~/lib/text";
import type { Past } from "./history";
import css from "./Hunting.module.css";

interface Props {
  running: boolean;
  run: () => void;
  cancel: () => void;
  range: string;
  setRange: (range: string) => void;
  format: () => void;
  share: () => void;
  save: () => void;
  past: Past[];
  clearPast: () => void;
  open: (query: string) => void;
}

export function Toolbar(p: Props) {
  const maySave = useMay("rules.write");
  return (
    <div className={css.toolbar} role="toolbar" aria-label="Query">
      {p.running ? (
        <Button icon={<StopRegular />} onClick={p.cancel}>
          Cancel
        </Button>
      ) : (
        <Tooltip content="Shift+Enter" relationship="description">
          <Button appearance="primary" icon={<PlayFilled />} onClick={p.run}>
            Run query
          </Button>
        </Tooltip>
      )}
      <RangePicker range={p.range} setRange={p.setRange} />
      <span className={css.spacer} />
      <History past={p.past} clear={p.clearPast} open={p.open} />
      <Tooltip content="Format the query" relationship="label">
        <Button appearance="subtle" icon={<TextAlignLeftRegular />} onClick={p.format} />
      </Tooltip>
      <Tooltip content="Copy a link to this query" relationship="label">
        <Button appearance="subtle" icon={<ShareRegular />} onClick={p.share} />
      </Tooltip>
      {maySave ? (
        <Button icon={<SaveRegular />} onClick={p.save}>
          Save as rule
        </Button>
      ) : null}
    </div>
  );
}

function RangePicker({ range, setRange }: { range: string; setRange: (range: string) => void }) {
  const [custom, setCustom] = useState(false);
  const [anchor, setAnchor] = useState<HTMLElement | null>(null);
  const given = parseCustom(range);
  const [from, setFrom] = useState(given?.start.slice(0, 16) ?? "");
  const [to, setTo] = useState(given?.end.slice(0, 16) ?? "");
  const wanted = parseCustom(`${from}:00Z/${to}:00Z`);
  return (
    <>
      <Menu checkedValues={{ range: [range] }} onCheckedValueChange={(_, d) => d.checkedItems[0] && setRange(d.checkedItems[0])}>
        <MenuTrigger disableButtonEnhancement>
          <Button ref={setAnchor} appearance="outline" icon={<CalendarClockRegular />} aria-label={`Time range: ${rangeLabel(range)}`}>
            {rangeLabel(range)}
            <ChevronDownRegular aria-hidden="true" className={css.chevron} />
          </Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            {RANGES.map((r) => (
              <MenuItemRadio key={r.value} name="range" value={r.value}>
                {r.label}
              </MenuItemRadio>
            ))}
            <MenuDivider />
            <MenuItem onClick={() => setCustom(true)}>Custom range…</MenuItem>
          </MenuList>
        </MenuPopover>
      </Menu>
      <Popover
        open={custom}
        onOpenChange={(_, d) => setCustom(d.open)}
        trapFocus
        positioning={{ target: anchor, position: "below", align: "start" }}
      >
        <PopoverSurface aria-label="Custom time range">
          <div className={css.custom}>
            <Field label="From (UTC)">
              <Input type="datetime-local" value={from} onChange={(_, d) => setFrom(d.value)} />
            </Field>
            <Field label="Until (UTC)">
              <Input type="datetime-local" value={to} onChange={(_, d) => setTo(d.value)} />
            </Field>
            <Button
              appearance="primary"
              disabled={!wanted}
              onClick={() => {
                if (wanted) setRange(`${wanted.start}/${wanted.end}`);
                setCustom(false);
              }}
            >
              Use this range
            </Button>
          </div>
        </PopoverSurface>
      </Popover>
    </>
  );
}

function History({ past, clear, open }: { past: Past[]; clear: () => void; open: (query: string) => void }) {
  const [shown, setShown] = useState(false);
  return (
    <Popover open={shown} onOpenChange={(_, d) => setShown(d.open)} trapFocus positioning="below-end">
      <PopoverTrigger disableButtonEnhancement>
        <Button appearance="subtle" icon={<HistoryRegular />}>
          History
        </Button>
      </PopoverTrigger>
      <PopoverSurface aria-label="Query history" className={css.history}>
        {past.length ? (
          <>
            <ol>
              {past.map((entry) => (
                <li key={entry.at}>
                  <button
                    type="button"
                    onClick={() => {
                      open(entry.query);
                      setShown(false);
                    }}
                  >
                    <code>{entry.query.trim()}</code>
                    <small>
                      <Time value={entry.at} relative />
                      {entry.rows === null ? "" : `, ${count(entry.rows, "row")}`}
                    </small>
                  </button>
                </li>
              ))}
            </ol>
            <Button size="small" appearance="subtle" onClick={clear}>
              Clear history
            </Button>
          </>
        ) : (
          <p>Queries that you run are kept here, in this browser only.</p>
        )}
      </PopoverSurface>
    </Popover>
  );
}
