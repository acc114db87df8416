"""The stores of the graph: memory, SQLite, Neo4j. Know no topics and no streams, and decide nothing."""
