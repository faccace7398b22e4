"""Rollouts: from one release of a service to the next, in waves, with gates, and back by themselves.

What decides is pure: facts and rules become a sealed ``plan`` (``planning``, ``stages``), the record of what was begun
becomes the way back (``returning``), what was measured becomes a verdict (``judging``). ``running`` carries it out over
a ``world``; ``words`` are the Observatory's; ``watching`` is what displays read.
"""
