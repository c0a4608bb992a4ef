import { type ReactNode, useEffect } from "react";
import css from "./Page.module.css";

/** A page's frame: its name (also the browser tab's), what it is about, its commands, its content. */
export function Page({
  title,
  note,
  actions,
  children,
  fill,
}: {
  title: string;
  note?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  fill?: boolean;
}) {
  useTitle(title);
  return (
    <div className={css.page} data-fill={fill || undefined}>
      <header className={css.head}>
        <div>
          <h1 className={css.title}>{title}</h1>
          {note ? <p className={css.note}>{note}</p> : null}
        </div>
        {actions ? <div className={css.actions}>{actions}</div> : null}
      </header>
      {children}
    </div>
  );
}

export function useTitle(title: string) {
  useEffect(() => {
    document.title = `${title} · Tocsin`;
  }, [title]);
}

/** A white (or dark) sheet on the canvas. */
export function Card({ children, className = "", label }: { children: ReactNode; className?: string; label?: string }) {
  return (
    <section className={`${css.card} ${className}`} aria-label={label}>
      {children}
    </section>
  );
}
