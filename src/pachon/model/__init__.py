"""The types that everything else works with: frozen values, no input or output."""
