import css from "./Keys.module.css";

/** Keys that do something here and what, for the eye: whoever listens is told by the controls themselves. */
export function Keys({ keys, does, className = "" }: { keys: string[]; does: string; className?: string }) {
  return (
    <span className={`${css.keys} ${className}`} aria-hidden="true">
      {keys.map((key) => (
        <kbd key={key}>{key}</kbd>
      ))}
      {does}
    </span>
  );
}
