import react from "@vitejs/plugin-react";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// What Vite's own list leaves out: what runs in workers, fonts, and notices that a licence asks to be passed on.
const NOTICES = [
  ["monaco-editor", "monaco-editor/ThirdPartyNotices.txt"],
  ["xregexp (in the Kusto worker)", "xregexp/LICENSE"],
  ["Inter", "@fontsource-variable/inter/LICENSE"],
  ["JetBrains Mono", "@fontsource-variable/jetbrains-mono/LICENSE"],
  ["Apache ECharts", "echarts/NOTICE"],
];
const KUSTO = `@kusto/language-service and @kusto/language-service-next (in the Kusto worker) are published under the MIT licence, Copyright (c) Microsoft
Corporation; their packages carry no licence text of their own. They contain Bridge.NET, see https://github.com/bridgedotnet/Bridge.`;

function notices() {
  return {
    name: "tocsin-notices",
    generateBundle(this: { emitFile: (file: { type: "asset"; fileName: string; source: string }) => void }) {
      const parts = NOTICES.map(
        ([name, file]) => `# ${name}\n\n${readFileSync(new URL(`./node_modules/${file}`, import.meta.url), "utf8").trim()}\n`,
      );
      this.emitFile({
        type: "asset",
        fileName: "notices.md",
        source: [`# Kusto language service\n\n${KUSTO}\n`, ...parts].join("\n---\n\n"),
      });
    },
  };
}

// The build goes into the Python package; `/api` of a dev server goes to a running Tocsin (TOCSIN_URL).
export default defineConfig({
  plugins: [react(), notices()],
  resolve: { alias: { "~": fileURLToPath(new URL("./src", import.meta.url)) } },
  // The server replaces this mark in each index.html it sends (tocsin.portal.files).
  html: { cspNonce: "__TOCSIN_NONCE__" },
  build: {
    outDir: fileURLToPath(new URL("../src/tocsin/portal/static", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    // Inlined assets would be data: URLs, which our content policy allows for images only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 9000,
    license: { fileName: "licenses.md" },
  },
  worker: { format: "es" },
  server: { proxy: { "/api": process.env.TOCSIN_URL ?? "http://127.0.0.1:8765" } },
  test: { environment: "jsdom", setupFiles: ["./test/setup.ts"], include: ["test/**/*.test.{ts,tsx}"] },
});
