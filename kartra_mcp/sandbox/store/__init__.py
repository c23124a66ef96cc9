"""SQLite database of the rehearsal account, its seed and its clock.

Belongs here: tables, rows and PHP's reading of values. Does not belong here: rules of Kartra.
"""
