"""The cases, one file each; their order is that of the report."""

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
    "search",
    "tokens",
    "answers",
    "bulk",
    "team",
)
