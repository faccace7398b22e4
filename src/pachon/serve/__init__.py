"""``pachon serve``: keeps channels to the hosts of a site open, looks for commands, and watches for drift."""

from pachon.serve.events import Told
from pachon.serve.serving import Order, serve

__all__ = ["Order", "Told", "serve"]
