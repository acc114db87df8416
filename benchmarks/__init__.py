"""One script per statement about speed in the documents. The product imports nothing from here."""
