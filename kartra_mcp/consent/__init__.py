"""Consent to a write: facts, preview, questions in the client, approvals outside it.

Belongs here: everything from the decision that consent is needed to its grant. Does not belong
here: the gate itself (`policy`), storage of confirmations (`ledger`).
"""
