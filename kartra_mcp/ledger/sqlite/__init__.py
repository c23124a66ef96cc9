"""The ledger in one SQLite file of the state folder, for the processes of one user.

Belongs here: SQLite, its file, its migrations, file locks, the head and the seal beside it.
Does not belong here: rules about calls (`ledger`), PostgreSQL, MCP, Membrane.
"""
