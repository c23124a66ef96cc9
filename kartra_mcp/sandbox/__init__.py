"""A stand-in for the `membrane` program and its API in front of a rehearsal account in SQLite.

A separate program: it imports nothing of the server, so that it cannot share its misunderstandings.
`store` <- `kartra` <- `membrane` <- `program` <- `http` <- `cli.py`.

Belongs here: everything that answers in place of Membrane and Kartra, and ways to arrange a fault.
Does not belong here: rules of the server, such as gates, consent and the ledger.
"""
