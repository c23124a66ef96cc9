"""The cases, each a file of its name; the order is that of the report."""

NAMES = ("start", "call", "large", "ledger", "tokens")
