"""Configuration files of MCP clients: paths, and edits that set or remove one entry.

Belongs here: editing files of other programs without disturbing the rest. Does not belong here:
questions to the user (`onboarding`, `cli`).
"""
