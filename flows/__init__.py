"""Entry point for streams: one file per dataflow, wiring only, and the runner. Decides nothing about submissions."""
