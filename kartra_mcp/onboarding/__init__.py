"""Guided setup and diagnosis, before the first answer of the server.

Belongs here: `setup` and `doctor`. Does not belong here: parsing of command lines (`cli`).
"""
