"""Shared value types, errors and pure helpers, imported by every other package.

Belongs here: code that at least two packages need and that is independent of Kartra, Membrane, MCP
and the ledger. Does not belong here: rules of the product, and anything that imports another
package.
"""
