"""The cases, each a file of its name; the order is that of the report."""

NAMES = (
    "start",
    "call",
    "throughput",
    "gates",
    "ledger",
    "page",
    "memory",
    "sizes",
    "large",
    "many",
    "tokens",
)
