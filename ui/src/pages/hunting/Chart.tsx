import { BarChart, LineChart, PieChart, ScatterChart } from "echarts/charts";
import { DataZoomComponent, GridComponent, LegendComponent, TitleComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useRef } from "react";
import { usePreferences } from "~/app/preferences";
import type { ChartModel } from "~/lib/chart";
import { number } from "~/lib/text";
import css from "./Hunting.module.css";

echarts.use([
  BarChart,
  LineChart,
  PieChart,
  ScatterChart,
  DataZoomComponent,
  GridComponent,
  LegendComponent,
  TitleComponent,
  TooltipComponent,
  CanvasRenderer,
]);

const LIGHT = ["#0f6cbd", "#c23f0c", "#0c7073", "#7a3fb5", "#8a5600", "#ab0068", "#2e7031", "#4f52b2", "#566472", "#a4262c"];
const DARK = ["#62abf5", "#ff9a5c", "#58c5c8", "#c295f2", "#e8b04b", "#ff7cc5", "#7ecb81", "#9da0f5", "#a4b1be", "#ff8095"];

/** A result drawn by ECharts. Its numbers are in the grid beside it, so the picture itself is described in a sentence. */
export default function Chart({ model }: { model: ChartModel }) {
  const { dark, zone } = usePreferences();
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const container = box.current;
    if (!container || model.kind === "card") return;
    const style = getComputedStyle(container);
    const chart = echarts.init(container, null, { renderer: "canvas", useDirtyRect: true });
    chart.on("rendered", () => {
      container.dataset.ready = "true";
    });
    chart.setOption({
      ...options(model, {
        text: style.getPropertyValue("--colorNeutralForeground1").trim(),
        quiet: style.getPropertyValue("--colorNeutralForeground3").trim(),
        line: style.getPropertyValue("--colorNeutralStroke3").trim(),
        card: style.getPropertyValue("--colorNeutralBackground1").trim(),
      }),
      color: dark ? DARK : LIGHT,
      useUTC: zone === "utc",
      animation: false,
      aria: { enabled: false },
    });
    const observer = new ResizeObserver(() => chart.resize());
    observer.observe(container);
    return () => {
      observer.disconnect();
      chart.dispose();
    };
  }, [model, dark, zone]);
  if (model.kind === "card") {
    return (
      <div className={css.cards}>
        {model.series.map((s) => (
          <div key={s.name} className={css.bigNumber}>
            <strong>{number(s.points[0]?.[1] ?? 0)}</strong>
            <span>{s.name}</span>
          </div>
        ))}
      </div>
    );
  }
  return (
    <div
      ref={box}
      className={css.chart}
      data-testid="chart"
      role="img"
      aria-label={`${model.title || "Chart"}: ${model.kind} of ${model.series
        .map((s) => s.name)
        .slice(0, 6)
        .join(", ")}. The numbers are under Results.`}
    />
  );
}

interface Ink {
  text: string;
  quiet: string;
  line: string;
  card: string;
}

function options(model: ChartModel, ink: Ink): echarts.EChartsCoreOption {
  const font = "'Segoe UI', 'Inter Variable', sans-serif";
  const base = {
    textStyle: { fontFamily: font, color: ink.text },
    title: model.title
      ? { text: model.title, left: 14, top: 8, textStyle: { color: ink.text, fontSize: 14, fontWeight: 600, fontFamily: font } }
      : undefined,
    // Rich text, not HTML: the names in it come from logs.
    tooltip: {
      trigger: model.kind === "piechart" || model.kind === "scatterchart" ? "item" : "axis",
      renderMode: "richText",
      backgroundColor: ink.card,
      borderColor: ink.line,
      textStyle: { color: ink.text, fontSize: 12 },
    },
    legend:
      model.legend && (model.series.length > 1 || model.kind === "piechart")
        ? {
            type: "scroll",
            orient: "vertical",
            right: 10,
            top: 12,
            bottom: 12,
            width: 180,
            itemWidth: 14,
            itemHeight: 9,
            textStyle: { color: ink.text, width: 150, overflow: "truncate" },
            pageTextStyle: { color: ink.text },
          }
        : undefined,
  };
  if (model.kind === "piechart") {
    const data = model.series[0]?.points.map(([name, value]) => ({ name: String(name), value })) ?? [];
    return {
      ...base,
      series: [
        {
          type: "pie",
          radius: ["46%", "74%"],
          center: ["42%", "52%"],
          data,
          label: { color: ink.text },
          itemStyle: { borderColor: ink.card, borderWidth: 2 },
        },
      ],
    };
  }
  const flat = model.kind === "barchart";
  const axisStyle = {
    axisLine: { lineStyle: { color: ink.line } },
    axisTick: { show: false },
    axisLabel: { color: ink.quiet, hideOverlap: true },
    splitLine: { lineStyle: { color: ink.line } },
    nameTextStyle: { color: ink.quiet },
  };
  const xAxis = {
    type: model.x,
    name: model.xTitle,
    nameLocation: "middle",
    nameGap: 26,
    data: model.x === "category" ? model.categories : undefined,
    ...axisStyle,
    splitLine: { show: false },
  };
  const yAxis = { type: "value", name: model.yTitle, nameLocation: "end", ...axisStyle, axisLine: { show: false } };
  const bars = flat || model.kind === "columnchart";
  const area = model.kind === "areachart" || model.kind === "stackedareachart";
  return {
    ...base,
    grid: {
      left: 18,
      right: model.series.length > 1 && model.legend ? 210 : 24,
      top: model.title ? 56 : 38,
      bottom: model.x === "time" ? 58 : 24,
      containLabel: true,
    },
    xAxis: flat ? yAxis : xAxis,
    yAxis: flat ? { ...xAxis, inverse: true } : yAxis,
    dataZoom:
      model.x === "time"
        ? [{ type: "inside" }, { type: "slider", height: 20, bottom: 12, borderColor: ink.line, textStyle: { color: ink.quiet } }]
        : undefined,
    series: model.series.map((s) => ({
      name: s.name,
      type: bars ? "bar" : model.kind === "scatterchart" ? "scatter" : "line",
      data: flat ? s.points.map(([x, y]) => [y, x]) : s.points,
      stack: model.stacked ? "all" : undefined,
      showSymbol: s.points.length < 40,
      symbolSize: model.kind === "scatterchart" ? 7 : 5,
      sampling: bars ? undefined : "lttb",
      lineStyle: { width: 1.8 },
      areaStyle: area ? { opacity: 0.25 } : undefined,
      barMaxWidth: 44,
      itemStyle: bars ? { borderRadius: model.stacked ? 0 : flat ? [0, 3, 3, 0] : [3, 3, 0, 0] } : undefined,
    })),
  };
}
