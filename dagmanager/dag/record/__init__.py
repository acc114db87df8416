"""One record of the submissions topic: form, strategy, lineage, compute context. Reads no nodes."""
