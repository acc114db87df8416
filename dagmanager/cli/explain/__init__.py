"""How plans, refusals and findings are shown to a person. Writes to no store."""
