"""Correlation over recorded attacks: one incident each, no glue between two, weights tuned on one half and judged on the other."""
