// Monaco's deep entry points ship without declarations of their own.
declare module "monaco-editor/esm/vs/editor/edcore.main" {
  export * from "monaco-editor/esm/vs/editor/editor.api";
}
declare module "*?worker" {
  const WorkerFactory: new () => Worker;
  export default WorkerFactory;
}
declare module "@kusto/monaco-kusto/release/esm/kusto.worker";
