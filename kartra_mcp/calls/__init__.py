"""One tool call from name to response: dispatch, guarded write, reconciliation, paging.

Belongs here: the order of steps of a call. Does not belong here: MCP types (`server`), wording of
questions (`consent`), rules of risk (`policy`).
"""
