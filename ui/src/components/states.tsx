import { Button, MessageBar, MessageBarActions, MessageBarBody, MessageBarTitle, Skeleton, SkeletonItem } from "@fluentui/react-components";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Problem } from "~/api/client";
import css from "./states.module.css";

/** A problem in the API's own words: what was wrong, its code, what to do, and a way to try again. */
export function ProblemBar({ error, retry, title, again }: { error: unknown; retry?: () => void; title?: string; again?: string }) {
  const problem = error instanceof Problem ? error : null;
  return (
    <MessageBar intent="error" layout="multiline" role="alert">
      <MessageBarBody>
        <MessageBarTitle>{title ?? problem?.title ?? "Something went wrong"}</MessageBarTitle>
        {problem ? problem.detail || (title ? problem.title : "") : error instanceof Error ? error.message : String(error)}
        {problem?.hint ? <span className={css.hint}>{problem.hint}</span> : null}
        {problem?.code ? <code className={css.code}>{problem.code}</code> : null}
      </MessageBarBody>
      {retry ? (
        <MessageBarActions>
          <Button size="small" onClick={retry}>
            {again ?? "Try again"}
          </Button>
        </MessageBarActions>
      ) : null}
    </MessageBar>
  );
}

/** A whole page that failed. */
export function PageError({ error }: { error: unknown }) {
  return (
    <div className={css.page}>
      <ProblemBar error={error} retry={() => location.reload()} />
    </div>
  );
}

export function NotFoundPage() {
  return (
    <main className={css.empty}>
      <h1 className={css.title}>There is no such page</h1>
      <p className={css.text}>The address may be old or mistyped.</p>
      <Link to="/incidents" className={css.link}>
        Go to the incidents
      </Link>
    </main>
  );
}

/** Nothing to show, and why that may be right. */
export function Empty({ icon, title, text, children }: { icon?: ReactNode; title: string; text?: ReactNode; children?: ReactNode }) {
  return (
    <div className={css.empty}>
      {icon ? <div className={css.icon}>{icon}</div> : null}
      <h2 className={css.title}>{title}</h2>
      {text ? <p className={css.text}>{text}</p> : null}
      {children}
    </div>
  );
}

/** Grey lines where rows will be. */
export function LoadingRows({ rows = 8, label = "Loading" }: { rows?: number; label?: string }) {
  return (
    <Skeleton aria-label={label} className={css.loading}>
      {Array.from({ length: rows }, (_, i) => (
        <SkeletonItem key={i} size={24} style={{ opacity: 1 - i / (rows + 2) }} />
      ))}
    </Skeleton>
  );
}
