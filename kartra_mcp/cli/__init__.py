"""The command line: one module per command, dispatched by `main.py`.

Belongs here: arguments in, text and exit status out. Does not belong here: what a command does,
which is in the package of its subject.
"""
