"""Fuzzers of everything that reads what others wrote: `make fuzz` (CONTRIBUTING.md, "Fuzzing").

`targets.py` has one property per target, `inputs.py` makes the inputs, `hunt.py` looks for an input
that breaks a property, `processes.py` does so in a process of its own under a watchdog. `corpus/`
has the seeds: small files, of which those named `found-…` once broke a property.
"""
