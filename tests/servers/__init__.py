"""The real servers themselves: they start, answer, survive and die as promised."""
