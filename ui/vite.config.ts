import react from "@vitejs/plugin-react";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// The build goes into the Python package; `/api` of a dev server goes to a running Tocsin (TOCSIN_URL).
export default defineConfig({
  plugins: [react()],
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
