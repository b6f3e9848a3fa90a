"""Shared tools of the tests: waiting, processes, a TCP proxy, the choice of a server."""
