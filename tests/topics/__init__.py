"""The contract suite of the topics, the same for every implementation."""
