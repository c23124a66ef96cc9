"""Checks of a team's deployment, which change nothing: `kartra-mcp team check`.

Belongs here: checks of database, login and accounts, and their findings. Does not belong here:
the doctor of a single user's server.
"""
