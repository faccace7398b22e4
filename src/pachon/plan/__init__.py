"""The plan: a sealed document of what would be done, in which order, at which risk, relying on which facts.

Pure: what engines and receipts say comes in as values (``making.Findings``); nothing here looks at the world.
"""

from pachon.plan.document import Action, Difference, Envelope, Fact, Plan, Protection, Wave

__all__ = ["Action", "Difference", "Envelope", "Fact", "Plan", "Protection", "Wave"]
