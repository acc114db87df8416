"""What this process remembers of the graph, valid at one epoch, each cache bounded.

A cache never decides and never writes.
"""
