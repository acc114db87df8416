"""The door for streams: one file per dataflow, wiring only; no decisions."""
