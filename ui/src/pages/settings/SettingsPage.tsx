import { Tab, TabList } from "@fluentui/react-components";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMay } from "~/app/permissions";
import { Page } from "~/components/Page";
import { Audit } from "./Audit";
import { Groups } from "./Groups";
import { Tokens } from "./Tokens";
import { Users } from "./Users";
import { Weights } from "./Weights";

export function SettingsPage() {
  const search = useSearch({ from: "/signed-in/settings" });
  const tabs = [
    { value: "users", label: "Users", may: useMay("users.read") },
    { value: "groups", label: "Groups", may: useMay("users.read") },
    { value: "tokens", label: "Tokens", may: useMay("tokens.manage") },
    { value: "audit", label: "Audit log", may: useMay("audit.read") },
    { value: "weights", label: "Incident weights", may: true },
  ].filter((t) => t.may);
  const tab = tabs.find((t) => t.value === (search.tab ?? "users"))?.value ?? tabs[0]?.value;
  const navigate = useNavigate();
  return (
    <Page
      title="Settings"
      note="Who may sign in, which groups get incidents, which tokens senders and scripts use, what was changed by whom, and what incidents are judged by."
    >
      <TabList
        selectedValue={tab}
        onTabSelect={(_, d) =>
          void navigate({
            to: "/settings",
            search: { tab: d.value === "users" ? undefined : (d.value as "groups" | "tokens" | "audit" | "weights") },
          })
        }
      >
        {tabs.map((t) => (
          <Tab key={t.value} value={t.value}>
            {t.label}
          </Tab>
        ))}
      </TabList>
      {tab === "users" ? <Users /> : null}
      {tab === "groups" ? <Groups /> : null}
      {tab === "tokens" ? <Tokens /> : null}
      {tab === "audit" ? <Audit /> : null}
      {tab === "weights" ? <Weights /> : null}
    </Page>
  );
}
