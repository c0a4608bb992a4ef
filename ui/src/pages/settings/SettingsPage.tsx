import { Tab, TabList } from "@fluentui/react-components";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMay } from "~/app/permissions";
import { Page } from "~/components/Page";
import { Empty } from "~/components/states";
import { Audit } from "./Audit";
import { Tokens } from "./Tokens";
import { Users } from "./Users";

export function SettingsPage() {
  const search = useSearch({ from: "/signed-in/settings" });
  const tabs = [
    { value: "users", label: "Users", may: useMay("users.read") },
    { value: "tokens", label: "Tokens", may: useMay("tokens.manage") },
    { value: "audit", label: "Audit log", may: useMay("audit.read") },
  ].filter((t) => t.may);
  const tab = tabs.find((t) => t.value === (search.tab ?? "users"))?.value ?? tabs[0]?.value;
  const navigate = useNavigate();
  return (
    <Page title="Settings" note="Who may sign in, which tokens senders and scripts use, and what was changed by whom.">
      <TabList
        selectedValue={tab}
        onTabSelect={(_, d) =>
          void navigate({ to: "/settings", search: { tab: d.value === "users" ? undefined : (d.value as "tokens" | "audit") } })
        }
      >
        {tabs.map((t) => (
          <Tab key={t.value} value={t.value}>
            {t.label}
          </Tab>
        ))}
      </TabList>
      {tabs.length ? null : (
        <Empty
          title="Nothing that you may change"
          text="Users, tokens and the audit log are an administrator's. Your own password and theme are in the menu of your name."
        />
      )}
      {tab === "users" ? <Users /> : null}
      {tab === "tokens" ? <Tokens /> : null}
      {tab === "audit" ? <Audit /> : null}
    </Page>
  );
}
