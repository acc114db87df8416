"""Where the graph is kept, in memory, SQLite or Neo4j. Knows no topics and no streams, and decides nothing."""
