"""The suite tried on storages that others wrote: `python -m conformance.peers` writes `docs/scoreboard.md`.

A bridge maps the three methods of a storage, and what else the other one has, onto its public API in the way that suits
it best. None of this is shipped; the other projects are installed from their releases and left as they are.
"""
