"""What the server costs, measured on whole processes: `make bench`, or `python -m benchmarks`.

A case is one file in `cases/`: it has a `TITLE`, words `ABOUT` it, and `run()`, which gives its
rows; `plots(rows)`, where it has that, draws some of them, which it finds by their names. Where two
things are compared they run in turn, in pairs, so that a busy machine slows both. The programs that
are measured against stand in `programs/`, other servers to start against in `reference_servers.py`.
"""
