"""Work outside a transaction: topics, admin log, outbox, lost topics.

Nothing here runs inside a transaction; each effect may be repeated after a crash.
"""
