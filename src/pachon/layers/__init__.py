"""The layers of work, each with the same three verbs: observe, preview, apply one attempt."""
