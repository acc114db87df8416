"""Where records enter the flow: files and Kafka partitions, each with its offset in the snapshot.

Nothing is parsed in full here.
"""
