"""Kartra's inbound API as documented: commands, error types, effects on the account.

Belongs here: what Kartra does. Does not belong here: Membrane's envelopes and verbs.
"""
