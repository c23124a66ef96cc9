"""Guided setup and diagnosis, for use before the server works in a client.

Belongs here: `setup` and `doctor`. Does not belong here: parsing of command lines (`cli`).
"""
