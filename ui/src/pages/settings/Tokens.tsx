import { Button, Field, Input, Radio, RadioGroup, Tooltip } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "~/api/client";
import { tokensQuery } from "~/api/queries";
import type { MadeToken, Role, Token } from "~/api/types";
import { AddRegular, CopyRegular, DeleteRegular, KeyRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { Empty, LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import css from "./Settings.module.css";
import { RoleField } from "./Users";

export function Tokens() {
  const { data, error } = useQuery(tokensQuery);
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Token | null>(null);
  if (!data) return error ? <ProblemBar error={error} /> : <LoadingRows rows={4} />;
  return (
    <>
      <div className={css.bar}>
        <Button icon={<AddRegular />} onClick={() => setMaking(true)}>
          Make a token
        </Button>
      </div>
      <Card className={css.sheet}>
        {data.items.length ? (
          <table className={css.table}>
            <caption className="visually-hidden">Tokens</caption>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col" style={{ width: 170 }}>
                  For
                </th>
                <th scope="col" style={{ width: 140 }}>
                  Owner
                </th>
                <th scope="col" style={{ width: 150 }}>
                  Last used
                </th>
                <th scope="col" style={{ width: 150 }}>
                  Expires
                </th>
                <th scope="col" style={{ width: 64 }}>
                  <span className="visually-hidden">Revoke</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.items.map((token) => (
                <tr key={token.id}>
                  <th scope="row">{token.name}</th>
                  <td>{token.kind === "ingest" ? "Sending data" : `API: ${token.roles.join(", ")}`}</td>
                  <td>{token.owner}</td>
                  <td>{token.last_used ? <Time value={token.last_used} relative /> : "never"}</td>
                  <td>{token.expires ? <Time value={token.expires} /> : "never"}</td>
                  <td>
                    <Tooltip content={`Revoke ${token.name}`} relationship="label">
                      <Button appearance="subtle" icon={<DeleteRegular />} onClick={() => setRevoking(token)} />
                    </Tooltip>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        ) : (
          <Empty icon={<KeyRegular />} title="No tokens" text="A sender needs one to deliver events; a script needs one to use the API." />
        )}
      </Card>
      {making ? <MakeToken close={() => setMaking(false)} /> : null}
      {revoking ? <Revoke token={revoking} close={() => setRevoking(null)} /> : null}
    </>
  );
}

function MakeToken({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [kind, setKind] = useState<"ingest" | "api">("ingest");
  const [role, setRole] = useState<Role>("Reader");
  const [days, setDays] = useState("");
  const client = useQueryClient();
  const notices = useNotices();
  const make = useMutation({
    mutationFn: (): Promise<MadeToken> =>
      take(
        api.POST("/api/v1/tokens", {
          body: { name: name.trim(), kind, roles: kind === "api" ? [role] : [], expires_in_days: days ? Number(days) : null },
        }),
      ),
    onSuccess: () => client.invalidateQueries({ queryKey: ["tokens"] }),
  });
  const made = make.data;
  return (
    <Modal
      title={made ? "Copy the token now" : "Make a token"}
      close={close}
      actions={
        <>
          {made ? (
            <Button appearance="primary" onClick={close}>
              Done
            </Button>
          ) : (
            <>
              <Button onClick={close}>Cancel</Button>
              <Button appearance="primary" disabled={!name.trim() || make.isPending} onClick={() => make.mutate()}>
                Make
              </Button>
            </>
          )}
        </>
      }
    >
      {made ? (
        <>
          <p>It is shown this once; Tocsin keeps only its hash.</p>
          <div className={css.secret}>
            <code>{made.token}</code>
            <Button
              icon={<CopyRegular />}
              onClick={() => {
                void navigator.clipboard.writeText(made.token);
                notices.done("Token copied");
              }}
            >
              Copy
            </Button>
          </div>
        </>
      ) : (
        <>
          {make.error ? <ProblemBar error={make.error} title="No token was made" /> : null}
          <Field label="Name" required hint="Who will use it, for example rsyslog on web04.">
            <Input autoFocus maxLength={128} value={name} onChange={(_, d) => setName(d.value)} />
          </Field>
          <Field label="For">
            <RadioGroup value={kind} onChange={(_, d) => setKind(d.value as "ingest" | "api")}>
              <Radio value="ingest" label="Sending data (can do nothing else)" />
              <Radio value="api" label="The API" />
            </RadioGroup>
          </Field>
          {kind === "api" ? <RoleField role={role} choose={setRole} /> : null}
          <Field label="Expires after days" hint="Empty: never">
            <Input type="number" min={1} max={3650} value={days} onChange={(_, d) => setDays(d.value)} />
          </Field>
        </>
      )}
    </Modal>
  );
}

function Revoke({ token, close }: { token: Token; close: () => void }) {
  const client = useQueryClient();
  const notices = useNotices();
  const revoke = useMutation({
    mutationFn: () => take(api.DELETE("/api/v1/tokens/{token_id}", { params: { path: { token_id: token.id } } })),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ["tokens"] });
      notices.done(`${token.name} revoked`);
      close();
    },
  });
  return (
    <Modal
      title={`Revoke ${token.name}?`}
      alert
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button appearance="primary" disabled={revoke.isPending} onClick={() => revoke.mutate()}>
            Revoke
          </Button>
        </>
      }
    >
      {revoke.error ? <ProblemBar error={revoke.error} title="The token was not revoked" /> : null}
      <p>Whoever uses it is refused from now on. This can't be undone; make a new token instead.</p>
    </Modal>
  );
}
