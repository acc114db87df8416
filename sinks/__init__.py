"""The outputs of the flow, one file per destination. Sinks decide nothing and change no content."""
