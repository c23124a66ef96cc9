"""Bulk runs: one tool for many items, with one consent, each item an ordinary guarded write.

Belongs here: items, plan, preview and progress of a run. Does not belong here: how one call is
checked, run and recorded (`calls`), and how a run is stored (`ledger`).
"""
