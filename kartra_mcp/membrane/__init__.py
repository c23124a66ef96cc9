"""Clients for Membrane: its command line program and its REST API.

Belongs here: argv, requests, parsing of responses, Membrane's errors, concurrency and rate limits.
Does not belong here: the choice of a connection (`account`), risk, consent or the ledger.
"""
