"""Configuration files of MCP clients: where each is, and one entry set in or removed from it.

Belongs here: editing files of other programs without disturbing the rest. Does not belong here:
questions to the user (`onboarding`, `cli`).
"""
