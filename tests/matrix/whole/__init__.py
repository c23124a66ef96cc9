"""Whole replicas: real `kartra-mcp serve --http` behind a plain proxy, faults by chance, load.

Pair, relays, upstream and checker are those of the matrix around it.
"""
