"""Kills processes, broker and database while the flow works, then audits what is left. The product imports nothing from here."""
