"""A Python program as the bytes with which a host begins it soonest: compiled here, with its call in binary.

To parse a program of some hundred lines costs a host as much as a third of starting Python, and to import ``json``
more than that. Where the host's Python is of another version than ours, the source is used, which is sent along.
Nothing is kept on the host.
"""

import importlib.util
import json
import marshal
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

ENTRY = (
    "import marshal,os,sys;"
    "from _frozen_importlib_external import MAGIC_NUMBER;"
    "made,code,source,call=marshal.loads(sys.stdin.buffer.read());"
    'exec(marshal.loads(code) if made==MAGIC_NUMBER else source,{"CALL":call,"__name__":"__main__"});'
    "sys.stdout.flush();"
    "os._exit(0)"
)
"""Tidying up at the end would take as long as a small program."""
RUNNER = f"sudo -n /usr/bin/python3 -I -S -c '{ENTRY}'"
FORMAT = 4
"""Of ``marshal``, which every Python from 3.4 on reads; code is read only by the version that made it."""
LAST_WORDS = """

def _in_json(answer):
    try:
        import _json
        quote = _json.encode_basestring_ascii
        return "".join(_json.make_encoder(None, None, quote, None, ": ", ", ", False, False, False)(answer, 0))
    except (AttributeError, ImportError, TypeError):
        import json
        return json.dumps(answer)

ANSWER = main(CALL)
if ANSWER is not None:
    print(_in_json(ANSWER))
"""
"""Comes after the program: its answer as JSON, where it can be without the weight of ``json``."""


def packed(program_text: str, call: Mapping[str, Any]) -> bytes:
    """What ``RUNNER`` reads on its standard input."""
    plain = json.loads(json.dumps(call, ensure_ascii=False, allow_nan=False))
    return marshal.dumps((*_code(program_text), plain), FORMAT)


def unpacked(sent: bytes) -> dict[str, Any]:
    """The call in what a client has sent that has proven who it is; for those who play a host.

    Raises:
        ValueError: it is something else.
    """
    try:
        call: dict[str, Any] = marshal.loads(sent)[3]
    except (EOFError, IndexError, TypeError) as error:
        raise ValueError("this is no program with its call") from error
    return call


@lru_cache(maxsize=32)
def _code(program_text: str) -> tuple[bytes, bytes, str]:
    source = program_text + LAST_WORDS
    code = compile(source, "<sent program>", "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER, marshal.dumps(code), source
