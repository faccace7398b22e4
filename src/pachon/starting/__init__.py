"""In which order services start and stop: computed of what needs what, and drawn. Pure."""

from pachon.starting.order import Order, Start, Wait, order, startable, stoppable, waves
from pachon.starting.picture import picture

__all__ = ["Order", "Start", "Wait", "order", "picture", "startable", "stoppable", "waves"]
