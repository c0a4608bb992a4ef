import { Button, Tooltip } from "@fluentui/react-components";
import cytoscape, { type Core, type ElementDefinition } from "cytoscape";
import fcose from "cytoscape-fcose";
import { useEffect, useMemo, useRef, useState } from "react";
import type { Incident } from "~/api/types";
import { usePreferences } from "~/app/preferences";
import { ZoomFitRegular, ZoomInRegular, ZoomOutRegular } from "~/components/icons";
import { Empty } from "~/components/states";
import { entityKey, isAsset, shortLabel } from "~/lib/entities";
import type { Highlight, Selection } from "~/lib/story";
import { count } from "~/lib/text";
import { PlayBar } from "./PlayBar";
import { graphStyle, icon, nodeColor } from "./graphStyle";
import css from "./Story.module.css";

cytoscape.use(fcose);

/** Width of the picture on paper, and how many dots each point of it has. */
const PAPER = 760;
const SHARP = 2;

/** Cytoscape's own way to draw on any canvas at once; its exports are made by it, its types leave it out. */
interface Drawing {
  renderer: () => {
    renderTo: (context: CanvasRenderingContext2D | null, zoom: number, pan: { x: number; y: number }, ratio: number) => void;
  };
}

interface Props {
  incident: Incident;
  lit: Highlight | null;
  selection: Selection;
  select: (selection: Selection) => void;
}

/** The entities and what ties them. A picture for the eye; the timeline's chips and the assets tab give the same by keyboard. */
export function EntityGraph({ incident, lit, selection, select }: Props) {
  const { dark, printing } = usePreferences();
  const box = useRef<HTMLDivElement>(null);
  const graph = useRef<Core | null>(null);
  const chosen = useRef(select);
  chosen.current = select;
  const selected = useRef(selection);
  selected.current = selection;

  // Live updates bring equal graphs again and again; only another shape may lay the picture out anew.
  const shape = JSON.stringify([incident.graph.nodes, incident.graph.edges]);
  const elements = useMemo(() => toElements(incident, dark), [shape, dark]);

  useEffect(() => {
    const container = box.current;
    if (!container) return;
    const css = getComputedStyle(container);
    const variable = (name: string) => css.getPropertyValue(name).trim();
    const edgeColor = (tactic: string) => variable(`--t-${tactic.toLowerCase()}`) || variable("--t-unknown");
    const core = cytoscape({
      container,
      elements: elements.map((e) =>
        e.group === "edges" ? { ...e, data: { ...e.data, color: edgeColor(String(e.data.tactic ?? "")) } } : e,
      ),
      style: graphStyle({
        dark,
        text: variable("--colorNeutralForeground1"),
        card: variable("--colorNeutralBackground1"),
        edge: variable("--colorNeutralStroke1"),
        brand: variable("--colorCompoundBrandStroke"),
      }),
      minZoom: 0.2,
      maxZoom: 2.5,
      boxSelectionEnabled: false,
      layout: { name: "preset" },
    });
    graph.current = core;
    // Starting places are given and nothing is random: the same incident always looks the same.
    core
      .layout({
        name: "fcose",
        animate: false,
        randomize: false,
        quality: "proof",
        nodeSeparation: 80,
        idealEdgeLength: () => 80,
        nodeRepulsion: () => 7000,
        gravity: 0.3,
        numIter: 2500,
        fit: false,
        nodeDimensionsIncludeLabels: true,
      } as never)
      .run();
    stretch(core, container);
    core.on("tap", "node", (event) => {
      const key = event.target.data("key") as string;
      chosen.current(selected.current.entity === key ? {} : { entity: key });
    });
    core.on("tap", "edge", (event) => {
      const alert = event.target.data("alert") as string;
      if (alert) chosen.current(selected.current.alert === alert ? {} : { alert });
    });
    core.on("tap", (event) => event.target === core && chosen.current({}));
    core.on("mouseover", "node, edge", () => (container.style.cursor = "pointer"));
    core.on("mouseout", "node, edge", () => (container.style.cursor = ""));
    const observer = new ResizeObserver(() => core.resize());
    observer.observe(container);
    container.dataset.ready = "true";
    return () => {
      observer.disconnect();
      core.destroy();
      graph.current = null;
    };
  }, [elements, dark]);

  useEffect(() => {
    const core = graph.current;
    if (!core) return;
    core.batch(() => {
      core.elements().removeClass("dim lit chosen");
      if (!lit) return;
      core.nodes().forEach((node) => void node.addClass(lit.nodes.has(node.id()) ? "lit" : "dim"));
      core.edges().forEach((edge) => void edge.addClass(lit.edges.has(edge.data("index") as number) ? "lit" : "dim"));
      if (selection.entity) core.nodes(`[key = ${JSON.stringify(selection.entity)}]`).addClass("chosen");
    });
  }, [lit, selection.entity, elements]);

  // On paper the pane has another size, and nobody can scroll or zoom: all of it is drawn, at once, on a canvas of its own.
  const paper = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const core = graph.current;
    const canvas = paper.current;
    if (!core || !canvas || !printing) return;
    const all = core.elements().boundingBox({ includeLabels: true });
    const zoom = Math.min(1.3, PAPER / Math.max(1, all.w));
    canvas.width = PAPER * SHARP;
    canvas.height = Math.ceil(Math.min(PAPER, all.h * zoom) + 16) * SHARP;
    const fitted = Math.min(zoom, (canvas.height / SHARP - 16) / Math.max(1, all.h)) * SHARP;
    const context = canvas.getContext("2d");
    const pan = { x: (canvas.width - all.w * fitted) / 2 - all.x1 * fitted, y: 8 * SHARP - all.y1 * fitted };
    (core as unknown as Drawing).renderer().renderTo(context, fitted, pan, 1);
    canvas.dataset.drawn = "true";
  }, [printing, elements, dark]);

  // What wasn't there yet at the moment shown is hidden; null shows all.
  const [moment, setMoment] = useState<number | null>(null);
  useEffect(() => {
    const core = graph.current;
    if (!core) return;
    const later = (first?: string | null) => moment !== null && first != null && Date.parse(first) > moment;
    core.batch(() => {
      incident.graph.nodes.forEach((node) => void core.getElementById(node.id).toggleClass("later", later(node.first)));
      incident.graph.edges.forEach((edge, index) => void core.getElementById(`e${index}`).toggleClass("later", later(edge.first)));
    });
  }, [moment, elements]);

  const zoom = (factor: number) => {
    const core = graph.current;
    core?.zoom({ level: core.zoom() * factor, renderedPosition: { x: core.width() / 2, y: core.height() / 2 } });
  };
  return (
    <section className={css.graph} aria-label="Graph of the entities">
      <header className={css.paneHead}>
        <h2>Graph</h2>
        <span>
          {drawn(incident)}, {count(incident.graph.edges.length, "link")}
        </span>
        <div className={css.graphTools}>
          <Tooltip content="Zoom in" relationship="label">
            <Button size="small" appearance="subtle" icon={<ZoomInRegular />} onClick={() => zoom(1.3)} />
          </Tooltip>
          <Tooltip content="Zoom out" relationship="label">
            <Button size="small" appearance="subtle" icon={<ZoomOutRegular />} onClick={() => zoom(1 / 1.3)} />
          </Tooltip>
          <Tooltip content="Show all" relationship="label">
            <Button size="small" appearance="subtle" icon={<ZoomFitRegular />} onClick={() => graph.current?.fit(undefined, 34)} />
          </Tooltip>
        </div>
      </header>
      {incident.graph.nodes.length > 1 ? <PlayBar incident={incident} moment={moment} setMoment={setMoment} /> : null}
      {incident.graph.nodes.length ? (
        <>
          <div ref={box} className={css.canvas} role="img" aria-label={describe(incident)} />
          <canvas ref={paper} className={css.paper} role="img" aria-label={describe(incident)} />
        </>
      ) : (
        <Empty title="No entities" text="No alert of this incident names a device, user or address." />
      )}
    </section>
  );
}

function toElements(incident: Incident, dark: boolean): ElementDefinition[] {
  const tacticOf = new Map(incident.story.map((step) => [step.alert_id, step.tactic ?? ""]));
  const order = new Map<string, number>();
  incident.story.forEach((step, index) => {
    for (const entity of step.entities) if (!order.has(entityKey(entity))) order.set(entityKey(entity), index);
  });
  const used = new Map<number, number>();
  return [
    ...incident.graph.nodes.map((node): ElementDefinition => {
      const key = entityKey(node);
      const asset = isAsset(node.type);
      const step = order.get(key) ?? incident.story.length;
      const place = used.get(step) ?? 0;
      used.set(step, place + 1);
      const angle = -Math.PI / 2 + (2 * Math.PI * (step + place * 0.2)) / (incident.story.length + 1);
      const radius = asset ? 120 : 230 + place * 24;
      const color = nodeColor(node.type, dark);
      return {
        group: "nodes",
        data: {
          id: node.id,
          key,
          label: node.label,
          short: shortLabel(node),
          asset,
          color,
          size: asset ? 46 : 34,
          icon: icon(node.type, color),
        },
        // Round the clock in the story's order.
        position: { x: Math.cos(angle) * radius, y: Math.sin(angle) * radius },
      };
    }),
    ...incident.graph.edges.map((edge, index): ElementDefinition => ({
      group: "edges",
      data: {
        id: `e${index}`,
        index,
        source: edge.source,
        target: edge.target,
        label: edge.label,
        alert: edge.alert_id,
        tactic: tacticOf.get(edge.alert_id) ?? "",
      },
    })),
  ];
}

const PADDING = 44;
const LEAST = 0.8;

/** Spread the picture over the pane at its natural size, so that labels stay readable; a crowd is zoomed out to fit instead. */
function stretch(core: Core, container: HTMLElement): void {
  const nodes = core.nodes();
  const box = nodes.boundingBox({ includeLabels: false });
  const room = { w: container.clientWidth - 2 * PADDING - 40, h: container.clientHeight - 2 * PADDING - 20 };
  const crowd = Math.max(1, Math.sqrt(nodes.length / 30));
  // Never pressed together: things would lie on each other's names. What doesn't fit is zoomed out instead.
  const sx = Math.max(LEAST, Math.min(2.4, (room.w * crowd) / Math.max(1, box.w)));
  const sy = Math.max(LEAST, Math.min(2.4, (room.h * crowd) / Math.max(1, box.h)));
  nodes.positions((node) => {
    const { x, y } = node.position();
    return { x: (x - box.x1) * sx, y: (y - box.y1) * sy };
  });
  core.fit(undefined, PADDING / 2);
  if (core.zoom() > 1.15) {
    core.zoom(1.15);
    core.center();
  }
}

/** How many entities are drawn, and of how many: those of a large incident are too many to tell apart. */
function drawn({ graph }: Incident): string {
  const all = count(graph.nodes.length + graph.left_out, "entity", "entities");
  return graph.left_out ? `${graph.nodes.length} of ${all}` : all;
}

function describe(incident: Incident): string {
  const names = incident.graph.nodes.filter((n) => isAsset(n.type)).map((n) => shortLabel(n));
  return `Graph of ${drawn(incident)}; assets: ${names.slice(0, 8).join(", ") || "none"}. The same links are in the timeline and under Assets and evidence.`;
}
