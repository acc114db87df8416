"""The contract suite of the graph, the same for every implementation."""
