"""Scripted agents against the whole server: what texts of an account and a bad model can reach.

`python -m evals` (in `tests`) runs all of it; `tests/test_evals.py` a sample.
"""
