// Static imports in this order: a dynamic one would let the first messages come before anybody listens.
import "./workerGlobal";
import "@kusto/monaco-kusto/release/esm/kusto.worker";
