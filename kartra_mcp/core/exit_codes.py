"""Exit statuses of every command."""

EXIT_OK = 0
"""Done, shown or healthy."""

EXIT_FAILED = 1
"""Refused, something was found, or the reader of the output is gone."""

EXIT_USAGE = 2
"""Wrong usage. Nothing was executed."""
