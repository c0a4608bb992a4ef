"""The HTTP API: one module a noun under `routes`, no business rules. Contracts with the house are in `ports`."""
