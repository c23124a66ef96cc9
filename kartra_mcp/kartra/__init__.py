"""Facts about Kartra: commands, fields, error types, form encoding, raw requests.

Belongs here: tables and pure functions that would be the same with another transport than Membrane.
Does not belong here: gates and limits (`policy`), Membrane's envelopes (`membrane`).
"""
