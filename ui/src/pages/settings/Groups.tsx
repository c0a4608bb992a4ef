import { Button, Dropdown, Field, Input, Option, Switch } from "@fluentui/react-components";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take } from "~/api/client";
import { groupsQuery, usersQuery } from "~/api/queries";
import type { GroupPatch } from "~/api/types";
import { useMay } from "~/app/permissions";
import { AddRegular, PeopleTeamRegular } from "~/components/icons";
import { Modal } from "~/components/Modal";
import { Card } from "~/components/Page";
import { LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import css from "./Settings.module.css";

/** The groups that incidents may be assigned to, and who is in them. */
export function Groups() {
  const { data, error } = useQuery(groupsQuery);
  const users = useQuery(usersQuery).data?.items ?? [];
  const mayChange = useMay("users.manage");
  const client = useQueryClient();
  const notices = useNotices();
  const [adding, setAdding] = useState(false);
  const change = useMutation({
    mutationFn: ({ name, ...body }: { name: string } & GroupPatch) =>
      take(api.PATCH("/api/v1/groups/{name}", { params: { path: { name } }, body })),
    onSuccess: (group) => notices.done(`${group.name} changed`),
    onError: (e) => notices.failed("The group was not changed", e),
    // Whose incidents are mine may be another thing now.
    onSettled: () =>
      Promise.all([client.invalidateQueries({ queryKey: ["groups"] }), client.invalidateQueries({ queryKey: ["incidents"] })]),
  });
  if (!data) return error ? <ProblemBar error={error} /> : <LoadingRows rows={4} />;
  return (
    <>
      <div className={css.bar}>
        <Button icon={<AddRegular />} disabled={!mayChange} onClick={() => setAdding(true)}>
          Add a group
        </Button>
      </div>
      <Card className={css.sheet}>
        <table className={css.table}>
          <caption className="visually-hidden">Groups</caption>
          <thead>
            <tr>
              <th scope="col">Group</th>
              <th scope="col" style={{ width: 320 }}>
                Members
              </th>
              <th scope="col" style={{ width: 180 }}>
                May get incidents
              </th>
            </tr>
          </thead>
          <tbody>
            {data.items.map((group) => (
              <tr key={group.name}>
                <th scope="row">
                  <span className={css.user}>
                    <PeopleTeamRegular fontSize={28} />
                    <span>
                      {group.name}
                      {group.description ? <small>{group.description}</small> : null}
                    </span>
                  </span>
                </th>
                <td>
                  <Dropdown
                    size="small"
                    multiselect
                    aria-label={`Members of ${group.name}`}
                    className={css.roles}
                    disabled={!mayChange}
                    placeholder="Nobody"
                    value={group.members.join(", ")}
                    selectedOptions={group.members}
                    onOptionSelect={(_, d) => {
                      const name = d.optionValue;
                      if (!name) return;
                      const come = d.selectedOptions.includes(name);
                      change.mutate({ name: group.name, ...(come ? { add_members: [name] } : { remove_members: [name] }) });
                    }}
                  >
                    {users.map((user) => (
                      <Option key={user.name} value={user.name} text={user.name}>
                        {user.display_name || user.name}
                      </Option>
                    ))}
                  </Dropdown>
                </td>
                <td>
                  <Switch
                    aria-label={`${group.name} may get incidents`}
                    checked={!group.disabled}
                    disabled={!mayChange}
                    onChange={(_, d) => change.mutate({ name: group.name, disabled: !d.checked })}
                  />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {data.items.length ? null : <p className={css.foot}>There is no group yet. Incidents may be assigned to one as to a user.</p>}
      </Card>
      {adding ? <AddGroup close={() => setAdding(false)} /> : null}
    </>
  );
}

function AddGroup({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const client = useQueryClient();
  const notices = useNotices();
  const add = useMutation({
    mutationFn: () => take(api.POST("/api/v1/groups", { body: { name: name.trim(), description: description.trim() } })),
    onSuccess: (group) => {
      void client.invalidateQueries({ queryKey: ["groups"] });
      notices.done(`${group.name} may get incidents now`);
      close();
    },
  });
  return (
    <Modal
      title="Add a group"
      close={close}
      submit={() => name.trim() && add.mutate()}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" appearance="primary" disabled={!name.trim() || add.isPending}>
            Add
          </Button>
        </>
      }
    >
      {add.error ? <ProblemBar error={add.error} title="The group was not added" /> : null}
      <Field label="Name" required hint="As no user is named.">
        <Input autoFocus autoComplete="off" maxLength={64} value={name} onChange={(_, d) => setName(d.value)} />
      </Field>
      <Field label="Description">
        <Input autoComplete="off" maxLength={512} value={description} onChange={(_, d) => setDescription(d.value)} />
      </Field>
    </Modal>
  );
}
