"""What this process keeps of the graph between look-ups, valid at one epoch, each cache bounded.

A cache never decides. Its one write is the counter that invalidates it in other processes.
"""
