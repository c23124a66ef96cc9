"""JSON Schema of actions: conversion, the advertised copy, validation of arguments.

Belongs here: pure functions over schemas and arguments. Does not belong here: anything about
Kartra, risk or MCP.
"""
