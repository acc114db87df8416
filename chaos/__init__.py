"""Proof by breaking: processes, broker and database are killed while the flow works, then all is audited. Never imported by the product."""
