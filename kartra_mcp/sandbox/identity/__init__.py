"""A stand-in identity provider on loopback: OpenID Connect for test people, with faults.

Belongs here: its endpoints, keys and tokens, its test people, and ways to arrange a fault. Does
not belong here: verification of tokens, which is the server's, and effects on the account.
"""
