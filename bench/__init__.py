"""Benchmarks: each module but this, `support` and `__main__` is one, with `main(argv)`; run by scripts/bench."""
