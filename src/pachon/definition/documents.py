"""YAML files as plain values, with the line of every key and value.

A stricter YAML than the library's: text, whole numbers, true/false, null, lists and mappings; no tags, no merge
keys, no duplicate keys; what ``yes``, ``010`` or ``1:30`` mean in YAML 1.1 is left as text.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pachon.errors import Complaint

Value = object
Location = tuple[str | int, ...]

EVERYTHING = "*"
"""Stands among broken names when nobody can tell which names were lost."""

MOST_BYTES = 4 << 20
MOST_VALUES = 100_000
DEEPEST = 24
WHOLE_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
NUMBER = re.compile(r"[-+]?[0-9]+\.[0-9]*([eE][-+][0-9]{1,3})?")


@dataclass
class Document:
    """What a YAML file says; ``value`` is None when it could not be read, and complaints say why."""

    path: str
    value: dict[str, Value] | None = None
    lines: dict[Location, int] = field(default_factory=dict)
    """Line of each key (for what stands in a mapping) or item."""
    complaints: list[Complaint] = field(default_factory=list)

    def line(self, location: Location) -> int:
        """Line of the value at that location, or of the nearest one around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def complain(self, line: int, wrong: str, *, right: str) -> None:
        """Add a complaint about this file."""
        self.complaints.append(Complaint(self.path, line, wrong, right))


def read_bytes(path: Path, shown: str, complaints: list[Complaint]) -> bytes | None:
    """Content of a file of the definition, or None with a complaint."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError("it is no file")
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise OSError(f"it has more than {MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except FileNotFoundError:
        complaints.append(
            Complaint(shown, 1, "the file is not there", "create it; inventory/README.md says what is in it")
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        complaints.append(Complaint(shown, 1, f"the file cannot be read: {reason}", "make it a readable text file"))
    return None


def read_text(path: Path, shown: str, complaints: list[Complaint]) -> str | None:
    """Text of a UTF-8 file (a byte-order mark is passed over), or None with a complaint."""
    raw = read_bytes(path, shown, complaints)
    if raw is None:
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        complaints.append(Complaint(shown, line, "this is not UTF-8 text", "save the file as UTF-8"))
        return None
    if not text.strip():
        complaints.append(Complaint(shown, 1, "the file is empty", "write it; inventory/README.md says what is in it"))
        return None
    return text


def read_document(path: Path, shown: str) -> Document:
    """The YAML mapping in a file, with lines and complaints."""
    document = Document(shown)
    text = read_text(path, shown, document.complaints)
    if text is None:
        return document
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.complain(mark.line + 1 if mark else 1, f"this is not YAML: {error.problem}", right="mend the syntax")
        return document
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        document.complain(1, f"this is not YAML: {reason}", right="mend the syntax")
        return document
    if not isinstance(node, yaml.MappingNode):
        document.complain(1, "the file holds no mapping", right="write 'key: value' lines")
        return document
    value = Builder(document).build(node, (), 0)
    if isinstance(value, dict):
        document.value = value
    return document


class _TooMuchError(Exception):
    """The document is larger than any definition."""


class Builder:
    """Turns nodes into values; counts them, so that aliases of aliases end."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.values = 0

    def build(self, node: yaml.Node, location: Location, depth: int) -> Value:
        """The value of the whole document, or None when it is too large."""
        try:
            return self._value(node, location, depth)
        except _TooMuchError as error:
            self.document.complain(1, str(error), right="write it out without aliases of aliases")
            return None

    def _value(self, node: yaml.Node, location: Location, depth: int) -> Value:
        self.values += 1
        if self.values > MOST_VALUES or depth > DEEPEST:
            raise _TooMuchError(f"more than {MOST_VALUES} values, or nested deeper than {DEEPEST}")
        self.document.lines.setdefault(location, node.start_mark.line + 1)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, location, depth)
            case yaml.SequenceNode():
                return [self._value(item, (*location, index), depth + 1) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node)
            case _:
                return None

    def _mapping(self, node: yaml.MappingNode, location: Location, depth: int) -> dict[str, Value]:
        mapping: dict[str, Value] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                self.document.complain(line, "this key is not plain text", right="write each key out as a word")
                continue
            key = str(key_node.value)
            if key in mapping:
                first = self.document.lines[(*location, key)]
                self.document.complain(
                    line, f"the key {key!r} stands twice", right=f"keep one; the first is at line {first}"
                )
                continue
            self.document.lines[(*location, key)] = line
            mapping[key] = self._value(value_node, (*location, key), depth + 1)
        return mapping

    def _scalar(self, node: yaml.ScalarNode) -> Value:
        text = str(node.value)
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "int" if WHOLE_NUMBER.fullmatch(text):
                return int(text)
            case "float" if NUMBER.fullmatch(text):
                return float(text)
            case "bool" if text in ("true", "false"):
                return text == "true"
            case "null":
                return None
            case "str" | "int" | "float" | "bool" | "timestamp" | "value" | "merge":
                return text
            case _:
                line = node.start_mark.line + 1
                self.document.complain(line, f"the tag {node.tag[:60]!r} means nothing here", right="write plain text")
                return text
