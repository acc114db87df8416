"""Frozen values of the graph, plans, outcomes and policy, and the Protocols that stores implement.

No decisions, no I/O, no clock.
"""
