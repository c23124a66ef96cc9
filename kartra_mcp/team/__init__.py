"""The team service's own parts: the team file, and jobs on a shared ledger.

What belongs here: parsing of the team file, anchors, evidence, and the jobs that verify, settle
and compare. What does not belong here: rules of the ledger (`ledger`), the sending of writes
(`calls`), and output (`cli`).
"""
