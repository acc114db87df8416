"""Topics, control events and the admin log: on Kafka, in files, in memory. Imports no graph and decides nothing."""
