"""Shared value types, errors and pure helpers, imported by every other package.

Belongs here: what at least two packages need and what knows nothing of Kartra, Membrane, MCP or the
ledger. Does not belong here: rules of the product, and anything that imports another package.
"""
