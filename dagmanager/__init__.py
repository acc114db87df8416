"""Everything that is not Bytewax: the one product namespace. Nothing is imported or re-exported here."""
