"""Functions that run inside one graph transaction: lock, read, decide, put.

No broker, no log, no retry loop.
"""
