"""The command line: one module per noun; each parses, calls one function of a domain room, and answers with a value."""
