// The Kusto language service is .NET compiled to JavaScript and looks for Node's `global`.
(globalThis as { global?: typeof globalThis }).global = globalThis;
