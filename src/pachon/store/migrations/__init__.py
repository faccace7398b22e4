"""How a store came to have its tables."""
