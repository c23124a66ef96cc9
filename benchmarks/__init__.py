"""What the server costs, measured on whole processes: `make bench`, or `python -m benchmarks`.

A case is one file in `cases/`: it has a `TITLE`, words `ABOUT` it, and `run()`, which gives its
rows. Where two things are compared they run in turn, in pairs, so that a busy machine slows both.
The programs that are measured against stand in `programs/`.
"""
