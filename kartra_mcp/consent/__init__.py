"""Consent to a write: facts, preview, questions in the client, approvals outside it.

Belongs here: everything between a decision that consent is needed and the grant. Does not belong
here: the gate itself (`policy`), storage of confirmations (`ledger`).
"""
