"""The flow as processes on a real Kafka and Neo4j. Tests over embedded stores live one folder up."""
