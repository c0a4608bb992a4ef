import {
  Avatar,
  Button,
  Input,
  Menu,
  MenuDivider,
  MenuGroup,
  MenuGroupHeader,
  MenuItem,
  MenuItemRadio,
  MenuList,
  MenuPopover,
  MenuTrigger,
  ProgressBar,
  Tooltip,
} from "@fluentui/react-components";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { type ReactNode, Suspense, useEffect, useRef, useState } from "react";
import { api } from "~/api/client";
import { actionsQuery, sessionQuery } from "~/api/queries";
import { forgetDrafts } from "~/app/drafts";
import { Connection } from "~/app/Connection";
import { useKeptFocus } from "~/app/keptFocus";
import { usePlace } from "~/app/place";
import { type ThemeChoice, usePreferences, type ZoneChoice } from "~/app/preferences";
import {
  ArchiveRegular,
  BugRegular,
  CodeRegular,
  DarkThemeRegular,
  DatabaseFilled,
  DatabaseRegular,
  MathFormulaRegular,
  NavigationRegular,
  PeopleRegular,
  PlugConnectedRegular,
  RulerRegular,
  SearchRegular,
  SettingsFilled,
  SettingsRegular,
  ShieldErrorFilled,
  ShieldErrorRegular,
  ShieldTaskRegular,
  SignOutRegular,
  TableRegular,
  TaskListSquareLtrFilled,
  TaskListSquareLtrRegular,
  TimelineRegular,
  WeatherMoonRegular,
  WeatherSunnyRegular,
} from "~/components/icons";
import { zoneName } from "~/lib/time";
import { KeyRegular } from "~/components/icons";
import { Logo } from "~/components/Logo";
import { PasswordDialog } from "./PasswordDialog";
import css from "./Shell.module.css";

interface Item {
  to:
    | "/incidents"
    | "/entities"
    | "/hunting"
    | "/actions"
    | "/rules"
    | "/coverage"
    | "/threat-reports"
    | "/watchlists"
    | "/anomalies"
    | "/sources"
    | "/tables"
    | "/search-jobs"
    | "/summary-rules"
    | "/settings";
  label: string;
  icon: ReactNode;
  activeIcon: ReactNode;
}

const GROUPS: { title: string; items: Item[] }[] = [
  {
    title: "Investigation and response",
    items: [
      { to: "/incidents", label: "Incidents", icon: <ShieldErrorRegular />, activeIcon: <ShieldErrorFilled /> },
      { to: "/entities", label: "Entities", icon: <PeopleRegular />, activeIcon: <PeopleRegular /> },
      { to: "/hunting", label: "Advanced hunting", icon: <CodeRegular />, activeIcon: <CodeRegular /> },
      { to: "/actions", label: "Action centre", icon: <TaskListSquareLtrRegular />, activeIcon: <TaskListSquareLtrFilled /> },
    ],
  },
  {
    title: "Content and data",
    items: [
      { to: "/rules", label: "Analytics rules", icon: <RulerRegular />, activeIcon: <RulerRegular /> },
      { to: "/coverage", label: "ATT&CK coverage", icon: <ShieldTaskRegular />, activeIcon: <ShieldTaskRegular /> },
      { to: "/threat-reports", label: "Threat reports", icon: <BugRegular />, activeIcon: <BugRegular /> },
      { to: "/watchlists", label: "Watchlists", icon: <TableRegular />, activeIcon: <TableRegular /> },
      { to: "/anomalies", label: "Anomalies", icon: <TimelineRegular />, activeIcon: <TimelineRegular /> },
      { to: "/sources", label: "Data sources", icon: <PlugConnectedRegular />, activeIcon: <PlugConnectedRegular /> },
      { to: "/tables", label: "Tables", icon: <DatabaseRegular />, activeIcon: <DatabaseFilled /> },
      { to: "/search-jobs", label: "Search & restore", icon: <ArchiveRegular />, activeIcon: <ArchiveRegular /> },
      { to: "/summary-rules", label: "Summary rules", icon: <MathFormulaRegular />, activeIcon: <MathFormulaRegular /> },
    ],
  },
  { title: "System", items: [{ to: "/settings", label: "Settings", icon: <SettingsRegular />, activeIcon: <SettingsFilled /> }] },
];

/** The frame around every page: skip link, top bar, navigation, and the page itself as the one scrolling region. */
export function Shell() {
  const { navCollapsed, setNavCollapsed } = usePreferences();
  const [drawer, setDrawer] = useState(false);
  const pending = useQuery(actionsQuery({ status: "Proposed" })).data?.counts.Proposed ?? 0;
  const busy = useRouterState({ select: (state) => state.status === "pending" });
  const path = useRouterState({ select: (state) => state.location.pathname });
  const main = useRef<HTMLElement>(null);
  usePlace(main);
  useKeptFocus();
  useEffect(() => setDrawer(false), [path]);
  return (
    <div className={css.shell} data-collapsed={navCollapsed || undefined} data-drawer={drawer || undefined}>
      <a href="#main" className={css.skip} onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the page
      </a>
      <header className={css.top}>
        <Button
          appearance="subtle"
          icon={<NavigationRegular />}
          aria-label="Toggle navigation"
          aria-expanded={!navCollapsed}
          onClick={() => (globalThis.matchMedia("(max-width: 800px)").matches ? setDrawer(!drawer) : setNavCollapsed(!navCollapsed))}
        />
        <Link to="/incidents" className={css.brand} aria-label="Tocsin, to the incidents">
          <Logo size={24} />
          <span>Tocsin</span>
        </Link>
        <GlobalSearch />
        <div className={css.tools}>
          <ZoneToggle />
          <ThemeToggle />
          <Person />
        </div>
      </header>
      {/* A drawer covers the page on a narrow screen; a click beside it closes it. */}
      {drawer ? <div className={css.scrim} onClick={() => setDrawer(false)} aria-hidden="true" /> : null}
      <nav className={css.nav} aria-label="Main">
        {GROUPS.map((group) => (
          <div key={group.title} className={css.group} role="group" aria-label={group.title}>
            <div className={css.groupTitle} aria-hidden="true">
              {group.title}
            </div>
            {group.items.map((item) => (
              <NavItem key={item.to} item={item} collapsed={navCollapsed && !drawer} badge={item.to === "/actions" ? pending : 0} />
            ))}
          </div>
        ))}
      </nav>
      <main id="main" ref={main} className={css.main} tabIndex={-1}>
        {busy ? <ProgressBar className={css.busy} aria-label="Loading page" thickness="medium" /> : null}
        <Connection />
        <Suspense fallback={<ProgressBar className={css.busy} aria-label="Loading page" />}>
          <Outlet />
        </Suspense>
      </main>
    </div>
  );
}

function NavItem({ item, collapsed, badge }: { item: Item; collapsed: boolean; badge: number }) {
  const path = useRouterState({ select: (state) => state.location.pathname });
  const active = path === item.to || path.startsWith(`${item.to}/`);
  const label = badge ? `${item.label}, ${badge} waiting` : item.label;
  const link = (
    <Link to={item.to} className={css.item} data-active={active || undefined} aria-current={active ? "page" : undefined}>
      <span className={css.itemIcon} aria-hidden="true">
        {active ? item.activeIcon : item.icon}
        {badge && collapsed ? <span className={css.dot} /> : null}
      </span>
      <span className={css.itemLabel}>{item.label}</span>
      {badge ? (
        <span className={css.badge}>
          {badge}
          <span className="visually-hidden"> waiting</span>
        </span>
      ) : null}
    </Link>
  );
  return collapsed ? (
    <Tooltip content={label} relationship="inaccessible" positioning="after">
      {link}
    </Tooltip>
  ) : (
    link
  );
}

function GlobalSearch() {
  const navigate = useNavigate();
  const [value, setValue] = useState("");
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.key !== "/" || event.ctrlKey || event.metaKey || target.closest("input, textarea, [contenteditable], .monaco-editor"))
        return;
      event.preventDefault();
      input.current?.focus();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  return (
    <form
      role="search"
      className={css.search}
      onSubmit={(event) => {
        event.preventDefault();
        if (value.trim()) void navigate({ to: "/incidents", search: { q: value.trim(), status: "all" } });
      }}
    >
      <Input
        ref={input}
        type="search"
        appearance="filled-darker"
        contentBefore={<SearchRegular />}
        contentAfter={<kbd className={css.kbd}>/</kbd>}
        placeholder="Search incidents, hosts, users, addresses"
        aria-label="Search all incidents"
        value={value}
        onChange={(_, data) => setValue(data.value)}
        className={css.searchInput}
      />
    </form>
  );
}

/** Which clock the page's times are of, always in sight. */
function ZoneToggle() {
  const { zone, setZone } = usePreferences();
  const label = zone === "utc" ? "Times are in UTC; show them in this browser's time zone" : `Times are in ${zoneName()}; show them in UTC`;
  return (
    <Tooltip content={label} relationship="label">
      <Button appearance="subtle" size="small" className={css.zone} onClick={() => setZone(zone === "utc" ? "local" : "utc")}>
        {zone === "utc" ? "UTC" : zoneName()}
      </Button>
    </Tooltip>
  );
}

function ThemeToggle() {
  const { dark, setThemeChoice } = usePreferences();
  const label = dark ? "Switch to the light theme" : "Switch to the dark theme";
  return (
    <Tooltip content={label} relationship="label">
      <Button
        appearance="subtle"
        icon={dark ? <WeatherSunnyRegular /> : <WeatherMoonRegular />}
        onClick={() => setThemeChoice(dark ? "light" : "dark")}
      />
    </Tooltip>
  );
}

function Person() {
  const { themeChoice, setThemeChoice, zone, setZone } = usePreferences();
  const { data: session } = useQuery(sessionQuery);
  const client = useQueryClient();
  const navigate = useNavigate();
  const [password, setPassword] = useState(false);
  const name = session?.user.display_name || session?.user.name || "";
  const signOut = async () => {
    try {
      await api.DELETE("/api/v1/session");
    } finally {
      forgetDrafts();
      client.clear();
      client.setQueryData(sessionQuery.queryKey, null);
      await navigate({ to: "/signin" });
    }
  };
  return (
    <>
      <Menu
        checkedValues={{ theme: [themeChoice], zone: [zone] }}
        onCheckedValueChange={(_, { name: group, checkedItems }) => {
          const choice = checkedItems[0];
          if (group === "theme") setThemeChoice(choice as ThemeChoice);
          if (group === "zone") setZone(choice as ZoneChoice);
        }}
      >
        <MenuTrigger disableButtonEnhancement>
          <button type="button" className={css.person} aria-label={`Account of ${name}`}>
            <Avatar name={name} size={28} color="brand" aria-hidden="true" />
          </button>
        </MenuTrigger>
        <MenuPopover>
          <div className={css.personCard}>
            <Avatar name={name} size={40} color="brand" aria-hidden="true" />
            <div>
              <div className={css.personName}>{name}</div>
              <div className={css.personRole}>{session?.user.roles.join(", ")}</div>
            </div>
          </div>
          <MenuList>
            <MenuDivider />
            <MenuGroup>
              <MenuGroupHeader>Theme</MenuGroupHeader>
              <MenuItemRadio name="theme" value="system" icon={<DarkThemeRegular />}>
                As the system
              </MenuItemRadio>
              <MenuItemRadio name="theme" value="light" icon={<WeatherSunnyRegular />}>
                Light
              </MenuItemRadio>
              <MenuItemRadio name="theme" value="dark" icon={<WeatherMoonRegular />}>
                Dark
              </MenuItemRadio>
            </MenuGroup>
            <MenuDivider />
            <MenuGroup>
              <MenuGroupHeader>Times in</MenuGroupHeader>
              <MenuItemRadio name="zone" value="utc">
                UTC
              </MenuItemRadio>
              <MenuItemRadio name="zone" value="local">
                This browser's time zone
              </MenuItemRadio>
            </MenuGroup>
            <MenuDivider />
            <MenuItem icon={<KeyRegular />} onClick={() => setPassword(true)}>
              Change password
            </MenuItem>
            <MenuItem icon={<SignOutRegular />} onClick={() => void signOut()}>
              Sign out
            </MenuItem>
          </MenuList>
          <div className={css.version}>
            Tocsin {session?.version} ·{" "}
            <a href="/licenses.md" target="_blank" rel="noreferrer">
              Licences
            </a>{" "}
            <a href="/notices.md" target="_blank" rel="noreferrer">
              and notices
            </a>
          </div>
        </MenuPopover>
      </Menu>
      {password ? <PasswordDialog close={() => setPassword(false)} /> : null}
    </>
  );
}
