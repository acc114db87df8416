"""Work outside a transaction: topics, admin log, outbox, lost topics.

Each effect may be repeated after a crash.
"""
