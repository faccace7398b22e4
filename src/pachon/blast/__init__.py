"""What is affected if something goes away: followed from the definition alone, by cables, placements, flows and needs.

Pure: it tells of the facility as it is defined, not of what happens to be broken already.
"""

from pachon.blast.answer import Blast, Hit, Line, lines_of
from pachon.blast.spreading import blast

__all__ = ["Blast", "Hit", "Line", "blast", "lines_of"]
