import { Button, Tab, TabList, Tooltip } from "@fluentui/react-components";
import { useMemo, useState } from "react";
import type { DeadLetter } from "~/api/types";
import { ArrowDownloadRegular, CheckmarkCircleRegular, DismissRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { asText, fromBase64, hexDump } from "~/lib/bytes";
import { count, number } from "~/lib/text";
import css from "./Sources.module.css";

/** What could not be read: why, where, and the bytes themselves. */
export function DeadLetters({ page, error }: { page: { items: DeadLetter[]; total: number } | undefined; error: unknown }) {
  const [chosen, setChosen] = useState<number | null>(null);
  if (!page) return error ? <ProblemBar error={error} /> : <LoadingRows rows={4} />;
  if (!page.items.length) {
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
  return (
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
        {page.total > page.items.length ? (
          <p className={css.foot}>
            The newest {number(page.items.length)} of {number(page.total)}. All are in the table DeadLetter_CL.
          </p>
        ) : null}
      </Card>
      {letter ? <Raw key={chosen} letter={letter} close={() => setChosen(null)} /> : null}
    </div>
  );
}

function Raw({ letter, close }: { letter: DeadLetter; close: () => void }) {
  const raw = useMemo(() => fromBase64(letter.raw), [letter.raw]);
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
        <span className={css.rawSize}>{count(raw.length, "byte")}</span>
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
