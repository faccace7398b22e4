"""For processes that carry out one command and end: neither sorting out memory nor tidying up is worth its time there.

Together they are a quarter of the processor time of a command that only reads.
"""

import gc
import os
import resource
import sys
from typing import NoReturn

OBJECTS = 100_000
"""Python looks for cycles after so many new objects; after 700 it would do so hundreds of times while modules load."""
FILES = 65_536
"""May be open, where the machine allows: a connection to each host is one, and shells commonly stop at 1,024."""


def begin() -> None:
    """To be called before much is imported."""
    gc.set_threshold(OBJECTS)
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if least != resource.RLIM_INFINITY and least < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def stay() -> None:
    """For a command that goes on and on after all: look for cycles in memory as Python does by itself."""
    gc.set_threshold(700, 10, 10)


def end(status: int) -> NoReturn:
    """End this process with what it has printed; who has something to put in order has done so by then."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)
