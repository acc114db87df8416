"""How fast on real servers, beside what a bare hop through the same broker costs in the same run."""
