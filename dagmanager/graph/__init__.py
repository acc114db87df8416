"""Where the graph is kept; knows no topics, no streams, and decides nothing."""
