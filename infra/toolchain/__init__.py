"""What the project needs on the machine it runs on, found or made: Debian packages, Python packages, programs.

Everything in here runs on the distribution's Python and its standard library alone, since it comes before ``.venv``.
"""
