import css from "./Sheet.module.css";

export interface Part {
  name: string;
  color: string;
  value: number;
}

export interface Bar {
  label: string;
  parts: Part[];
  /** A mark under the bar, for what has to be seen although it is small. */
  marked?: boolean;
}

const HEIGHT = 120;
const FOOT = 8;

/** Stacked bars with an optional line across. The numbers stand in a table beside it; the picture itself is one sentence. */
export function Bars({ bars, label, line, lineName }: { bars: Bar[]; label: string; line?: number; lineName?: string }) {
  const most = Math.max(1, line ?? 0, ...bars.map((b) => b.parts.reduce((sum, p) => sum + p.value, 0)));
  const scale = (value: number) => (value / most) * (HEIGHT - 10);
  const step = 1000 / Math.max(1, bars.length);
  return (
    <svg className={css.chart} viewBox={`0 0 1000 ${HEIGHT + FOOT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      {bars.map((bar, index) => {
        let top = HEIGHT;
        return (
          <g key={index}>
            <title>{`${bar.label}: ${bar.parts.map((p) => `${p.value} ${p.name}`).join(", ")}`}</title>
            <rect x={index * step} y={0} width={step} height={HEIGHT} fill="transparent" />
            {bar.parts.map((part) => {
              const height = part.value ? Math.max(2, scale(part.value)) : 0;
              top -= height;
              return (
                <rect
                  key={part.name}
                  x={index * step + step * 0.12}
                  y={top}
                  width={step * 0.76}
                  height={height}
                  style={{ fill: part.color }}
                />
              );
            })}
            {bar.marked ? (
              <rect x={index * step + step * 0.12} y={HEIGHT + 3} width={step * 0.76} height={4} style={{ fill: "var(--t-bad)" }} />
            ) : null}
          </g>
        );
      })}
      <line x1={0} x2={1000} y1={HEIGHT} y2={HEIGHT} style={{ stroke: "var(--colorNeutralStroke1)" }} vectorEffect="non-scaling-stroke" />
      {line === undefined ? null : (
        <line
          x1={0}
          x2={1000}
          y1={HEIGHT - scale(line)}
          y2={HEIGHT - scale(line)}
          style={{ stroke: "var(--t-bad)", strokeDasharray: "5 4" }}
          vectorEffect="non-scaling-stroke"
        >
          <title>{lineName}</title>
        </line>
      )}
    </svg>
  );
}

/** What the colours of the bars mean. */
export function Key({ parts }: { parts: { name: string; color: string }[] }) {
  return (
    <div className={css.key}>
      {parts.map((p) => (
        <span key={p.name}>
          <i style={{ background: p.color }} aria-hidden="true" />
          {p.name}
        </span>
      ))}
    </div>
  );
}
