"""Real servers for tests and trials: a private Kafka and Neo4j on loopback. The product imports nothing from here."""
