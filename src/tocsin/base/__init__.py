"""Base: the error tree, clock, ids and settings. It imports nothing of ours."""
