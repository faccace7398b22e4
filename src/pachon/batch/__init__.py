"""Batch production: campaigns of released software over a coverage set, carried out by each site's own Slurm.

What decides is pure: a file and a facility become a ``Campaign`` (``reading``, ``expanding``), quanta become jobs
(``packing``), the record and what was seen become the next orders (``deciding``). ``site_work`` and ``running`` are
the thin edge, ``watching`` is what displays read, ``by_default.run_default`` what ``pachon up`` ends with.
"""
