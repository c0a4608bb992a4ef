import {
  Button,
  Menu,
  MenuDivider,
  MenuGroup,
  MenuGroupHeader,
  MenuItem,
  MenuList,
  MenuPopover,
  MenuTrigger,
} from "@fluentui/react-components";
import { useState } from "react";
import { useStored } from "~/app/preferences";
import type { QueueSearch } from "~/app/router";
import { BookDatabaseRegular, DeleteRegular, SaveRegular } from "~/components/icons";
import css from "./Queue.module.css";
import { WordDialog } from "./WordDialog";

interface View {
  name: string;
  search: QueueSearch;
  columns?: string[] | null;
}

/** Ways to look at the queue that everybody needs, and those that this person keeps in this browser: filters, order and columns by a name. */
export function Views({
  search,
  columns,
  me,
  show,
}: {
  search: QueueSearch;
  columns: string[] | null;
  me: string | undefined;
  show: (search: QueueSearch, columns: string[] | null) => void;
}) {
  const [views, setViews] = useStored<View[]>("queue.views", []);
  const [naming, setNaming] = useState(false);
  const usual: View[] = [
    { name: "To work on", search: {} },
    ...(me ? [{ name: "Mine and my groups'", search: { owner: "@me" } }] : []),
    { name: "Nobody's", search: { owner: "none" } },
    { name: "New in the last day", search: { status: "New", time: "24h", sort: "last" } },
    { name: "Resolved in the last week", search: { status: "Resolved", time: "7d", sort: "updated" } },
  ];
  return (
    <>
      <Menu>
        <MenuTrigger disableButtonEnhancement>
          <Button appearance="subtle" icon={<BookDatabaseRegular />}>
            Views
          </Button>
        </MenuTrigger>
        <MenuPopover>
          <MenuList>
            {usual.map((view) => (
              <MenuItem key={view.name} onClick={() => show(view.search, columns)}>
                {view.name}
              </MenuItem>
            ))}
            {views.length ? (
              <MenuGroup>
                <MenuDivider />
                <MenuGroupHeader>Kept in this browser</MenuGroupHeader>
                {views.map((view) => (
                  <MenuItem key={view.name} onClick={() => show(view.search, view.columns ?? null)}>
                    {view.name}
                  </MenuItem>
                ))}
              </MenuGroup>
            ) : null}
            <MenuDivider />
            <MenuItem icon={<SaveRegular />} onClick={() => setNaming(true)}>
              Keep this view…
            </MenuItem>
          </MenuList>
        </MenuPopover>
      </Menu>
      {naming ? (
        <NameDialog
          views={views}
          keep={(name) => {
            setViews(
              [...views.filter((v) => v.name !== name), { name, search: { ...search, page: undefined }, columns }].sort((a, b) =>
                a.name.localeCompare(b.name),
              ),
            );
            setNaming(false);
          }}
          forget={(name) => setViews(views.filter((v) => v.name !== name))}
          close={() => setNaming(false)}
        />
      ) : null}
    </>
  );
}

function NameDialog({
  views,
  keep,
  forget,
  close,
}: {
  views: View[];
  keep: (name: string) => void;
  forget: (name: string) => void;
  close: () => void;
}) {
  return (
    <WordDialog
      title="Keep this view"
      label="Name"
      required
      hint={(given) =>
        views.some((v) => v.name === given)
          ? "There is one of that name: it becomes this one."
          : "Filters, order and columns, in this browser. A colleague gets them by Copy link."
      }
      most={60}
      verb="Keep"
      take={keep}
      close={close}
    >
      {views.length ? (
        <ul className={css.kept} aria-label="Views that are kept">
          {views.map((view) => (
            <li key={view.name}>
              {view.name}
              <Button
                size="small"
                appearance="subtle"
                icon={<DeleteRegular />}
                aria-label={`Forget the view ${view.name}`}
                onClick={() => forget(view.name)}
              />
            </li>
          ))}
        </ul>
      ) : null}
    </WordDialog>
  );
}
