"""Guided setup: program, login, connection, policy and PIN, client entries.

Belongs here: the steps of the wizard and its report. Does not belong here: checks (`doctor`).
"""
