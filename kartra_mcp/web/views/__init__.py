"""View models and templates of the approval page.

Belongs here: pure functions from ledger entries to what a template shows. Does not belong here:
HTTP.
"""
