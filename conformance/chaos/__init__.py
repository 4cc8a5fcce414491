"""Real servers killed under a load of session updates: `python -m conformance.chaos` prints what came of it.

None of this is shipped. What is measured depends on the machine; what must hold does not: no acknowledged update is
lost, every error is one that a bot can tell, and the storage object that was there before goes on.
"""
