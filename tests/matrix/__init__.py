"""The fault matrix of the team's ledger: real processes, a real PostgreSQL pair, and a judge.

`make matrix` stops a write at each of its points with each fault; `make soak-team` does so by
chance. `checker` decides what may not happen; nothing else does.
"""
