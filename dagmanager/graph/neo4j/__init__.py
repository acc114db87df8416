"""The graph on a Neo4j server: statements, mappings, transactions, schema.

No decisions. All Cypher is here.
"""
