"""What a DAG is, from bytes to proven nodes. Pure: no clock, no log, no client, no store."""
