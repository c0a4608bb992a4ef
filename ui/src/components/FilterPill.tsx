import { Button, type ButtonProps } from "@fluentui/react-components";
import { ChevronDownRegular } from "~/components/icons";
import css from "./FilterMenu.module.css";

/** What opens a filter: its name and what holds; lit where it filters. The rest is what a trigger gives its button. */
export function FilterPill({ name, value, on, ...trigger }: ButtonProps & { name: string; value: string; on: boolean }) {
  return (
    <Button
      {...trigger}
      appearance="outline"
      icon={<ChevronDownRegular />}
      iconPosition="after"
      className={css.pill}
      data-on={on || undefined}
    >
      <span className={css.name}>{name}:</span>
      <span className={css.value}>{value}</span>
    </Button>
  );
}
