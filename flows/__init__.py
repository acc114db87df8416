"""Entry point for streams: one file per dataflow, wiring only; the runner beside it. No decisions."""
