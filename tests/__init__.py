"""The same rooms as the product's, one folder each; doubles live in the product, builders here."""
