"""Pachon: one plan from hardware to services for the data facility of a sky survey."""

__version__ = "0.1.0"
