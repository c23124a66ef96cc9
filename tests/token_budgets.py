"""Budgets of the tool list in tokens, which tests and documents share."""

MOST = 9_000
"""The whole list of the sandbox."""

SEARCHED = 2_500
"""Tokens that `search` lists, at any number of actions."""

WITHIN = 0.15
"""Allowed error of the estimate that decides under `auto`."""
