"""What a DAG is: pure values and functions; no clock, no log, no client."""
