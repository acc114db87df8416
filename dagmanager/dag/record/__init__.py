"""One record of the submissions topic: its form, strategy, lineage and compute context. Looks into no node."""
