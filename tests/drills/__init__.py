"""Drills: real processes, real faults, and figures that must hold afterwards. Run by scripts/drill.

A drill is a module here with `main(argv)`, where argv may hold `--long` and `--json`; its docstring's first
line is its entry in the list.
"""
