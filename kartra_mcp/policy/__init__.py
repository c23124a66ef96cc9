"""Risk of an operation, gates, limits and the policy file.

Belongs here: pure decisions on whether an operation may run. Does not belong here: asking the user
(`consent`), counting what was done (`ledger`), reading the environment (`settings.py`).
"""
