"""The nodes of one DAG: fields, canonical parameters, topology, digests. Knows no record and no context."""
