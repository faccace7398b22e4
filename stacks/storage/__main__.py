"""``pulumi up`` in this folder; see ../README.md for what it needs."""

from stacks.by_hand import arguments
from stacks.storage import program

program(*arguments())
