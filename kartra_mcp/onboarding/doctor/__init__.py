"""Diagnosis: checks that name a cause and its fix, and that change nothing.

Belongs here: checks and their explanations. Does not belong here: repairs.
"""
