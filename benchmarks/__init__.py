"""Costs of the server, measured on whole processes: `make bench`, or `python -m benchmarks`.

A case is one file in `cases/`. It has a `TITLE`, a text `ABOUT` it, and `run()`, which returns its
rows. An optional `plots(rows)` draws some rows, found by their names. Two things are compared in
turn, in pairs, so that a busy machine slows both. The programs to compare with are in `programs/`,
other servers in `reference_servers.py`.
"""
