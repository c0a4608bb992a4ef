import { MenuDivider, MenuGroup, MenuGroupHeader, MenuItem } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { groupsQuery, usersQuery } from "~/api/queries";
import { useMay } from "~/app/permissions";
import { PeopleTeamRegular } from "./icons";

/** Of a menu: the others and the groups that an incident may be assigned to. */
export function Assignees({ me, owner, assign }: { me: string | undefined; owner?: string | null; assign: (name: string) => void }) {
  // Who may not list users may still take an incident.
  const mayList = useMay("users.read");
  const users = useQuery({ ...usersQuery, enabled: mayList }).data?.items.filter((u) => !u.disabled && u.name !== me) ?? [];
  const groups = useQuery({ ...groupsQuery, enabled: mayList }).data?.items.filter((g) => !g.disabled) ?? [];
  return (
    <>
      {users.map((user) => (
        <MenuItem key={user.name} disabled={owner === user.name} onClick={() => assign(user.name)}>
          {user.display_name || user.name}
        </MenuItem>
      ))}
      {groups.length ? (
        <>
          <MenuDivider />
          <MenuGroup>
            <MenuGroupHeader>Groups</MenuGroupHeader>
            {groups.map((group) => (
              <MenuItem
                key={group.name}
                icon={<PeopleTeamRegular />}
                disabled={owner === group.name}
                title={group.description || undefined}
                onClick={() => assign(group.name)}
              >
                {group.name}
              </MenuItem>
            ))}
          </MenuGroup>
        </>
      ) : null}
    </>
  );
}
