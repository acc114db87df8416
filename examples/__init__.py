"""Strategies to try and the demo that shows them; nothing that the product imports."""
