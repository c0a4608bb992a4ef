import { Button, Input, Spinner, Tab, TabList, Tooltip } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { lettersQuery } from "~/api/lake";
import { deadLetterQuery, deadLettersQuery, useReplay } from "~/api/queries";
import type { DeadLetter, Replay } from "~/api/types";
import { useMay } from "~/app/permissions";
import { ArrowClockwiseRegular, ArrowDownloadRegular, CheckmarkCircleRegular, DismissRegular, SearchRegular } from "~/components/icons";
import { FilterMenu } from "~/components/FilterMenu";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import { asText, fromBase64, hexDump } from "~/lib/bytes";
import { count, number } from "~/lib/text";
import css from "./Sources.module.css";

const STEP = 200;
const MOST = 1000;

/** What could not be taken: why, where, the bytes themselves, and the way to try again after a fix. */
export function DeadLetters() {
  const search = useSearch({ from: "/signed-in/sources" });
  const navigate = useNavigate();
  const [limit, setLimit] = useState(STEP);
  const [typed, setTyped] = useState(search.q ?? "");
  const filter = { code: search.code, source: search.from, text: search.q };
  const filtered = Boolean(search.code || search.from || search.q);
  const { data: page, error } = useQuery(lettersQuery({ ...filter, limit }));
  const all = useQuery(deadLettersQuery(1));
  const set = (change: Partial<typeof search>) => {
    setChosen(null);
    setLimit(STEP);
    void navigate({ to: "/sources", search: { ...search, ...change }, replace: true });
  };
  const [chosen, setChosen] = useState<number | null>(null);
  const may = useMay("sources.write");
  const replay = useReplay();
  const notices = useNotices();
  const again = (which: Partial<Replay>) =>
    replay.mutate(
      {
        ids: [],
        code: filter.code ?? "",
        source: filter.source ?? "",
        format: "",
        text: filter.text ?? "",
        before: null,
        limit: 1000,
        ...which,
      },
      {
        onSuccess: (done) => {
          setChosen(null);
          const rest = done.left ? ` ${number(done.left)} are left.` : "";
          const back = done.dead ? `${number(done.dead)} of them became dead letters again.` : "";
          notices.done(`${count(done.replayed, "letter")} replayed`, `${back}${rest}` || undefined);
        },
        onError: (e) => notices.failed("The letters were not replayed", e),
      },
    );
  if (!page) return error ? <ProblemBar error={error} /> : <LoadingRows rows={4} />;
  if (!page.items.length && !filtered) {
    return (
      <Card>
        <Empty
          icon={<CheckmarkCircleRegular />}
          title="Everything could be read"
          text="Input that no decoder understands is kept here with the reason, and never lost."
        />
      </Card>
    );
  }
  const letter = chosen === null ? undefined : page.items[chosen];
  const codes = Object.entries(page.counts.code);
  const counts = all.data?.counts ?? page.counts;
  const options = (of: Record<string, number>) => Object.entries(of).map(([value, n]) => ({ value, label: value, count: n }));
  // One at a time, as the server takes them: what is chosen last holds.
  const last = (values: string[], before: string | undefined) => values.find((v) => v !== before);
  return (
    <>
      <div className={css.replay}>
        <Input
          type="search"
          aria-label="Search in reasons and bytes"
          placeholder="Reason, then Enter"
          contentBefore={<SearchRegular />}
          value={typed}
          onChange={(_, d) => setTyped(d.value)}
          onKeyDown={(e) => e.key === "Enter" && set({ q: typed.trim() || undefined })}
          onBlur={() => (typed.trim() || undefined) !== search.q && set({ q: typed.trim() || undefined })}
        />
        <FilterMenu
          name="Code"
          options={options(counts.code)}
          chosen={search.code ? [search.code] : []}
          onChange={(values) => set({ code: last(values, search.code) })}
        />
        <FilterMenu
          name="Source"
          options={options(counts.source)}
          chosen={search.from ? [search.from] : []}
          onChange={(values) => set({ from: last(values, search.from) })}
        />
        {filtered ? (
          <Button appearance="subtle" onClick={() => (setTyped(""), set({ q: undefined, code: undefined, from: undefined }))}>
            Show all
          </Button>
        ) : null}
      </div>
      {may && page.replayable ? (
        <div className={css.replay}>
          <Button
            appearance="primary"
            icon={replay.isPending ? <Spinner size="tiny" /> : <ArrowClockwiseRegular />}
            disabled={replay.isPending}
            onClick={() => again({})}
          >
            {filtered ? "Replay these" : "Replay all"} ({number(page.replayable)})
          </Button>
          {codes.length > 1
            ? codes.map(([code, n]) => (
                <Button key={code} disabled={replay.isPending} onClick={() => again({ code })}>
                  Replay {code} ({number(n)})
                </Button>
              ))
            : null}
        </div>
      ) : null}
      <div className={css.letters} data-open={letter ? true : undefined}>
        <Card className={css.sheet}>
          <table className={css.table}>
            <caption className="visually-hidden">{count(page.items.length, "dead letter")}</caption>
            <thead>
              <tr>
                <th scope="col" style={{ width: 136 }}>
                  Time
                </th>
                <th scope="col" style={{ width: 170 }}>
                  Source
                </th>
                <th scope="col">Reason</th>
                <th scope="col" style={{ width: 190 }}>
                  Place
                </th>
              </tr>
            </thead>
            <tbody>
              {page.items.map((item, index) => (
                <tr key={`${item.time}${index}`} data-chosen={index === chosen || undefined}>
                  <td>
                    <Time value={item.time} />
                  </td>
                  <td>{item.source}</td>
                  <td>
                    <button
                      type="button"
                      className={css.reason}
                      aria-expanded={index === chosen}
                      onClick={() => setChosen(index === chosen ? null : index)}
                    >
                      {item.reason}
                    </button>
                    <code className={css.code}>{item.code}</code>
                  </td>
                  <td className={css.place}>{item.place}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {page.items.length ? null : <Empty icon={<SearchRegular />} title="No letter matches" text="Loosen a filter." />}
          {page.total > page.items.length ? (
            <p className={css.foot}>
              The newest {number(page.items.length)} of {number(page.total)}. All are in the table DeadLetter_CL.{" "}
              {limit < MOST ? (
                <Button size="small" onClick={() => setLimit(Math.min(MOST, limit + STEP))}>
                  Show more
                </Button>
              ) : null}
            </p>
          ) : null}
        </Card>
        {letter ? (
          <Raw
            key={chosen}
            letter={letter}
            replay={may && letter.replayable ? () => again({ ids: [letter.id] }) : undefined}
            close={() => setChosen(null)}
          />
        ) : null}
      </div>
    </>
  );
}

function Raw({ letter, replay, close }: { letter: DeadLetter; replay: (() => void) | undefined; close: () => void }) {
  // The list has the beginning; all of it comes when somebody looks.
  const whole = useQuery({ ...deadLetterQuery(letter.id), enabled: Boolean(letter.id) });
  const bytes64 = whole.data?.raw ?? letter.raw;
  const raw = useMemo(() => fromBase64(bytes64), [bytes64]);
  const text = useMemo(() => asText(raw), [raw]);
  const [tab, setTab] = useState<"text" | "hex">(text === null ? "hex" : "text");
  const save = () => {
    const url = URL.createObjectURL(new Blob([raw as Uint8Array<ArrayBuffer>], { type: "application/octet-stream" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = "dead-letter.bin";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  return (
    <Card className={css.raw} label="Raw bytes">
      <div className={css.rawHead}>
        <TabList size="small" selectedValue={tab} onTabSelect={(_, d) => setTab(d.value as "text" | "hex")}>
          <Tab value="text" disabled={text === null}>
            Text
          </Tab>
          <Tab value="hex">Bytes</Tab>
        </TabList>
        <span className={css.rawSize}>
          {letter.size > raw.length ? `${number(raw.length)} of ${count(letter.size, "byte")}` : count(raw.length, "byte")}
          {letter.rows > 1 ? `, ${count(letter.rows, "row")}` : ""}
        </span>
        {replay ? (
          <Button size="small" icon={<ArrowClockwiseRegular />} onClick={replay}>
            Replay
          </Button>
        ) : null}
        <Tooltip content="Save the bytes" relationship="label">
          <Button size="small" appearance="subtle" icon={<ArrowDownloadRegular />} onClick={save} />
        </Tooltip>
        <Tooltip content="Close" relationship="label">
          <Button size="small" appearance="subtle" icon={<DismissRegular />} onClick={close} />
        </Tooltip>
      </div>
      <pre className={css.bytes} data-hex={tab === "hex" || undefined} tabIndex={0} aria-label="Raw content">
        {tab === "text" ? text : hexDump(raw)}
      </pre>
    </Card>
  );
}
