"""The official conformance suite, `make conformance`; modules go by `conformance.NAME`."""
