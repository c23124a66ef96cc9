"""Membrane in front of Kartra: actions, connections, runs and errors.

Belongs here: what the program and the API have in common. Does not belong here: argv and HTTP.
"""
