"""One script per claim of speed made in the documents; nothing that the product imports."""
