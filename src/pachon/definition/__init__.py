"""The definition of a facility: its YAML and CSV files to a ``Facility``, or to all complaints at once."""

from pachon.definition.loading import Examined, examine, find, load

__all__ = ["Examined", "examine", "find", "load"]
