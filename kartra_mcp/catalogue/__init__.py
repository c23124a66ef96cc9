"""Tools: which exist, how they are named, described, found and listed; arguments to `Call`.

Belongs here: pure functions from actions and policy to tool definitions. Does not belong here:
running a call (`calls`), the MCP protocol (`server`).
"""
