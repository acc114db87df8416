"""What should happen to a DAG: pure decisions, the Protocols they need, and the thin shell that runs them; no client."""
