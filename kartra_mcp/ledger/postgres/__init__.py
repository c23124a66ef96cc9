"""The ledger of a team in PostgreSQL, shared by any number of hosts.

Belongs here: psycopg, connections, SQL migrations, the head row, the end of the right to send.
Does not belong here: rules about calls (`ledger`), SQLite, MCP, Membrane.
"""
