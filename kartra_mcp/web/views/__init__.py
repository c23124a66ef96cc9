"""View models and templates of the approval page.

Belongs here: pure functions from ledger entries to the values that a template displays. Does not
belong here: HTTP.
"""
