"""Tests of the graph on a real Neo4j server, beyond the contract suite."""
