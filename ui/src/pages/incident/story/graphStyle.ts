import type { StylesheetJson } from "cytoscape";

/** Icons as they stand inside a node: 24 by 24 outlines of our own. */
const PATHS: Record<string, string> = {
  Host: "M3 5h18v11H3z M9 20h6 M12 16v4",
  IoTDevice: "M6 6h12v12H6z M9 3v3 M15 3v3 M9 18v3 M15 18v3 M3 9h3 M3 15h3 M18 9h3 M18 15h3",
  Account: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8z M4.500 20c.8-3.600 3.800-5.500 7.500-5.500s6.700 1.900 7.500 5.500",
  SecurityGroup:
    "M9 5a3.200 3.200 0 1 1 0 6.400A3.200 3.200 0 0 1 9 5z M3 19c.5-3 2.800-4.600 6-4.600s5.500 1.600 6 4.600 M16 5.500a3 3 0 0 1 0 5.800 M17.500 14.500c2 .6 3.200 2.100 3.500 4.500",
  Mailbox: "M3 13l3-8h12l3 8v6H3z M3 13h5l1.500 3h5L16 13h5",
  MailMessage: "M3 6h18v12H3z M3 7l9 6 9-6",
  IP: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18z M3 12h18 M12 3c3 3 3.500 6 3.500 9s-.5 6-3.500 9c-3-3-3.500-6-3.500-9s.5-6 3.500-9z",
  DNS: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18z M3 12h18 M12 3c3 3 3.500 6 3.500 9s-.5 6-3.500 9c-3-3-3.500-6-3.500-9s.5-6 3.500-9z",
  URL: "M10 14l4-4 M8 11l-2.500 2.500a3.500 3.500 0 0 0 5 5L13 16 M16 13l2.500-2.500a3.500 3.500 0 0 0-5-5L11 8",
  File: "M6 3h8l4 4v14H6z M14 3v4h4",
  FileHash: "M5 9h14 M5 15h14 M10 4L8 20 M16 4l-2 16",
  Process: "M3 5h18v14H3z M3 9h18 M7 13l2 2-2 2 M12 17h4",
  CloudApplication: "M7 18h10a4 4 0 0 0 .8-7.900A6 6 0 0 0 6.300 9.300 4.400 4.400 0 0 0 7 18z",
  AzureResource: "M12 3l8 4.500v9L12 21l-8-4.500v-9z M4 7.500l8 4.500 8-4.500 M12 12v9",
  RegistryKey: "M15 4a5 5 0 1 1-3.800 8.200L6 17.500V20H3v-3l6.800-6.800A5 5 0 0 1 15 4z",
  RegistryValue: "M15 4a5 5 0 1 1-3.800 8.200L6 17.500V20H3v-3l6.800-6.800A5 5 0 0 1 15 4z",
  Malware:
    "M8 9a4 4 0 0 1 8 0v6a4 4 0 0 1-8 0z M4 8l4 2 M4 18l4-3 M3 13h5 M20 8l-4 2 M20 18l-4-3 M21 13h-5 M9.500 5.500L8 4 M14.500 5.500L16 4",
};
const UNKNOWN = "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16z M10 10a2 2 0 1 1 2.800 1.800c-.6.3-.8.7-.8 1.400 M12 16v.2";

export function icon(type: string, color: string): string {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48" viewBox="0 0 24 24" fill="none" stroke="${color}" stroke-width="1.700" stroke-linecap="round" stroke-linejoin="round"><path d="${PATHS[type] ?? UNKNOWN}"/></svg>`;
  return `data:image/svg+xml;utf8,${encodeURIComponent(svg)}`;
}

/** Node colours by what a thing is: its ring, and its fill on the light and the dark card. */
const KINDS: Record<string, [light: string, dark: string]> = {
  Host: ["#0f6cbd", "#62abf5"],
  Account: ["#7a3fb5", "#c295f2"],
  Mailbox: ["#7a3fb5", "#c295f2"],
  SecurityGroup: ["#7a3fb5", "#c295f2"],
  CloudApplication: ["#0c7073", "#58c5c8"],
  AzureResource: ["#0c7073", "#58c5c8"],
  IoTDevice: ["#0f6cbd", "#62abf5"],
  IP: ["#b3440a", "#ff9a5c"],
  URL: ["#b3440a", "#ff9a5c"],
  DNS: ["#b3440a", "#ff9a5c"],
  MailMessage: ["#a2195b", "#f58ac0"],
  Malware: ["#b10e1c", "#ff8b92"],
};

export const nodeColor = (type: string, dark: boolean): string => (KINDS[type] ?? ["#5c6670", "#a8b1ba"])[dark ? 1 : 0];

export interface Palette {
  dark: boolean;
  text: string;
  card: string;
  edge: string;
  brand: string;
}

export function graphStyle(p: Palette): StylesheetJson {
  return [
    {
      selector: "node",
      style: {
        width: "data(size)",
        height: "data(size)",
        "background-color": p.card,
        "background-image": "data(icon)",
        "background-width": "54%",
        "background-height": "54%",
        "border-width": 2,
        "border-color": "data(color)",
        label: "data(short)",
        color: p.text,
        "font-family": "Inter Variable, Segoe UI, sans-serif",
        "font-size": 11,
        "text-valign": "bottom",
        "text-margin-y": 5,
        "text-max-width": "120px",
        "text-wrap": "ellipsis",
        "text-background-color": p.card,
        "text-background-opacity": 0.85,
        "text-background-padding": "2px",
        "text-background-shape": "roundrectangle",
        "transition-property": "opacity",
        "transition-duration": 120,
      },
    },
    { selector: "node[?asset]", style: { "font-weight": 600 } },
    {
      selector: "edge",
      style: {
        width: 1.6,
        "curve-style": "bezier",
        "line-color": "data(color)",
        "target-arrow-color": "data(color)",
        "target-arrow-shape": "triangle",
        "arrow-scale": 0.8,
        opacity: 0.75,
        "font-size": 10,
        color: p.text,
        "text-rotation": "autorotate",
        "text-background-color": p.card,
        "text-background-opacity": 0.95,
        "text-background-padding": "3px",
        "text-wrap": "ellipsis",
        "text-max-width": "150px",
        "transition-property": "opacity",
        "transition-duration": 120,
      },
    },
    { selector: ".dim", style: { opacity: 0.16, "text-opacity": 0.25 } },
    { selector: "edge.dim", style: { opacity: 0.1 } },
    { selector: ".later", style: { visibility: "hidden" } },
    { selector: "node.lit", style: { "border-width": 3 } },
    { selector: "edge.lit", style: { width: 3, opacity: 1, "z-index": 9 } },
    {
      selector: "node.chosen",
      style: { "border-width": 4, "underlay-color": p.brand, "underlay-opacity": 0.22, "underlay-padding": 7, "underlay-shape": "ellipse" },
    },
    { selector: "node:active", style: { "overlay-opacity": 0.06 } },
    { selector: "core", style: { "active-bg-opacity": 0, "selection-box-opacity": 0 } as never },
  ];
}
