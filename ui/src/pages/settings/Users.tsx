import { Avatar, Button, Dropdown, Field, Input, Option, Switch } from "@fluentui/react-components";
import { Modal } from "~/components/Modal";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "~/api/client";
import { sessionQuery, usersQuery } from "~/api/queries";
import type { Role } from "~/api/types";
import { AddRegular } from "~/components/icons";
import { Time } from "~/components/marks";
import { Card } from "~/components/Page";
import { LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import css from "./Settings.module.css";

const ROLES: { value: Role; hint: string }[] = [
  { value: "Reader", hint: "sees everything, changes nothing" },
  { value: "Responder", hint: "works incidents, proposes and approves actions" },
  { value: "Contributor", hint: "also changes rules and content" },
  { value: "Administrator", hint: "also users, tokens and settings" },
];

const OPTIONS = ROLES.map((role) => (
  <Option key={role.value} value={role.value} text={role.value}>
    {role.value}: {role.hint}
  </Option>
));

/** Which role somebody or something is to have. */
export function RoleField({ role, choose }: { role: Role; choose: (role: Role) => void }) {
  return (
    <Field label="Role">
      <Dropdown value={role} selectedOptions={[role]} onOptionSelect={(_, d) => d.optionValue && choose(d.optionValue as Role)}>
        {OPTIONS}
      </Dropdown>
    </Field>
  );
}

export function Users() {
  const { data, error } = useQuery(usersQuery);
  const me = useQuery(sessionQuery).data?.user.name;
  const client = useQueryClient();
  const notices = useNotices();
  const [adding, setAdding] = useState(false);
  const change = useMutation({
    mutationFn: ({ name, ...body }: { name: string; roles?: Role[]; disabled?: boolean }) =>
      take(api.PATCH("/api/v1/users/{name}", { params: { path: { name } }, body })),
    onSuccess: (user) => notices.done(`${user.name} changed`),
    onError: (e) => notices.failed("The user was not changed", e),
    onSettled: () => client.invalidateQueries({ queryKey: ["users"] }),
  });
  if (!data) return error ? <ProblemBar error={error} /> : <LoadingRows rows={4} />;
  return (
    <>
      <div className={css.bar}>
        <Button icon={<AddRegular />} onClick={() => setAdding(true)}>
          Add a user
        </Button>
      </div>
      <Card className={css.sheet}>
        <table className={css.table}>
          <caption className="visually-hidden">Users</caption>
          <thead>
            <tr>
              <th scope="col">User</th>
              <th scope="col" style={{ width: 240 }}>
                Roles
              </th>
              <th scope="col" style={{ width: 160 }}>
                Last sign-in
              </th>
              <th scope="col" style={{ width: 140 }}>
                May sign in
              </th>
            </tr>
          </thead>
          <tbody>
            {data.items.map((user) => (
              <tr key={user.name}>
                <th scope="row">
                  <span className={css.user}>
                    <Avatar name={user.display_name || user.name} size={28} color="colorful" aria-hidden="true" />
                    <span>
                      {user.display_name || user.name}
                      <small>{user.name}</small>
                    </span>
                  </span>
                </th>
                <td>
                  <Dropdown
                    size="small"
                    multiselect
                    aria-label={`Roles of ${user.name}`}
                    className={css.roles}
                    value={user.roles.join(", ")}
                    selectedOptions={user.roles}
                    onOptionSelect={(_, d) =>
                      d.selectedOptions.length && change.mutate({ name: user.name, roles: d.selectedOptions as Role[] })
                    }
                  >
                    {OPTIONS}
                  </Dropdown>
                </td>
                <td>
                  <Time value={user.last_sign_in} relative />
                </td>
                <td>
                  <Switch
                    aria-label={`${user.name} may sign in`}
                    checked={!user.disabled}
                    disabled={user.name === me}
                    onChange={(_, d) => change.mutate({ name: user.name, disabled: !d.checked })}
                  />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Card>
      {adding ? <AddUser close={() => setAdding(false)} /> : null}
    </>
  );
}

function AddUser({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [shown, setShown] = useState("");
  const [password, setPassword] = useState("");
  const [role, setRole] = useState<Role>("Responder");
  const client = useQueryClient();
  const notices = useNotices();
  const add = useMutation({
    mutationFn: () => take(api.POST("/api/v1/users", { body: { name: name.trim(), display_name: shown.trim(), password, roles: [role] } })),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ["users"] });
      notices.done(`${name.trim()} may sign in now`);
      close();
    },
  });
  return (
    <Modal
      title="Add a user"
      close={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button appearance="primary" disabled={!name.trim() || !password || add.isPending} onClick={() => add.mutate()}>
            Add
          </Button>
        </>
      }
    >
      {add.error ? <ProblemBar error={add.error} title="The user was not added" /> : null}
      <Field label="User name" required>
        <Input autoFocus autoComplete="off" maxLength={64} value={name} onChange={(_, d) => setName(d.value)} />
      </Field>
      <Field label="Display name">
        <Input autoComplete="off" maxLength={128} value={shown} onChange={(_, d) => setShown(d.value)} />
      </Field>
      <Field label="Password" required hint="Tell it to them on another way; they can change it.">
        <Input type="password" autoComplete="new-password" value={password} onChange={(_, d) => setPassword(d.value)} />
      </Field>
      <RoleField role={role} choose={setRole} />
    </Modal>
  );
}
