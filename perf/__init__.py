"""Benchmarks: one question a file. A package, so that each module has one name: cached machine code remembers it."""
