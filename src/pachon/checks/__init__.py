"""Policy rules over a facility, as notes."""
