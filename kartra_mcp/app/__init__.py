"""Composition root: builds the server from settings; finds and starts the approval page.

Belongs here: wiring of packages. Does not belong here: rules and IO of their own.
"""
