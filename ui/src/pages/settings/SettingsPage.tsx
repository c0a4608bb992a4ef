import { Tab, TabList } from "@fluentui/react-components";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { Page } from "~/components/Page";
import { Audit } from "./Audit";
import { Tokens } from "./Tokens";
import { Users } from "./Users";

export function SettingsPage() {
  const { tab = "users" } = useSearch({ from: "/signed-in/settings" });
  const navigate = useNavigate();
  return (
    <Page title="Settings" note="Who may sign in, which tokens senders and scripts use, and what was changed by whom.">
      <TabList selectedValue={tab} onTabSelect={(_, d) => void navigate({ to: "/settings", search: { tab: d.value === "users" ? undefined : (d.value as "tokens" | "audit") } })}>
        <Tab value="users">Users</Tab>
        <Tab value="tokens">Tokens</Tab>
        <Tab value="audit">Audit log</Tab>
      </TabList>
      {tab === "users" ? <Users /> : null}
      {tab === "tokens" ? <Tokens /> : null}
      {tab === "audit" ? <Audit /> : null}
    </Page>
  );
}
