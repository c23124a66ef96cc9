"""Membrane's REST API of the sandbox, on loopback only.

Belongs here: routes, tokens and injected connection faults. Does not belong here: effects on the
account.
"""
