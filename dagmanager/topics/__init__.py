"""Where topics are made and described; knows no graph, no streams, and decides nothing."""
