"""The clients' own vectors, copied from the contract: inputs and what their code made of them."""
