"""Complaints in people's words: what a validator found, as what is wrong and what would be right."""

import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from pachon.checks.spelling import did_you_mean
from pachon.definition.written import WHAT_MATCHES

UNITS = {
    "_gib": "GiB",
    "_mib": "MiB",
    "_tib": "TiB",
    "_gbps": "Gb/s",
    "_mbps": "Mb/s",
    "_ms": "milliseconds",
    "_seconds": "seconds",
    "_minutes": "minutes",
}
"""The unit that the end of a field's name stands for."""
NUMBER_WITH_UNIT = re.compile(r"\s*([0-9]{1,12})(\.[0-9]+)?\s*([A-Za-z/]{1,12})\s*")


def shown(value: object) -> str:
    """A value as it can be put into a sentence: short, on one line, without control characters."""
    if value is None or isinstance(value, bool):
        return "empty" if value is None else str(value).lower()
    text = repr(value) if not isinstance(value, (dict, list, tuple)) else type(value).__name__
    text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= 60 else text[:57] + "..."


def models_at(annotation: object, location: Sequence[str | int]) -> list[type[BaseModel]]:
    """The model types that may stand at a location inside a type."""
    arguments = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not location:
            return [annotation]
        about = annotation.model_fields.get(str(location[0]))
        return models_at(about.annotation, location[1:]) if about is not None else []
    match get_origin(annotation):
        case origin if origin is Annotated:
            return models_at(arguments[0], location)
        case origin if origin in (Union, types.UnionType):
            return [found for part in arguments for found in models_at(part, location)]
        case origin if origin in (tuple, list, dict) and location:
            return models_at(arguments[-1 if origin is dict else 0], location[1:])
        case _:
            return []


def _description(model: type[BaseModel], location: Sequence[str | int]) -> str:
    """What the field at a location is, in the words of its description."""
    names = [index for index, part in enumerate(location) if isinstance(part, str)]
    for index in reversed(names):
        for owner in models_at(model, location[:index]):
            about = owner.model_fields.get(str(location[index]))
            if about is not None and about.description:
                return about.description.replace("``", "'").rstrip(".")
    return ""


@dataclass(frozen=True)
class _Fault:
    """One error of a validation, with what is needed to tell of it."""

    model: type[BaseModel]
    location: tuple[str | int, ...]
    name: str
    value: object
    context: Mapping[str, Any]
    description: str


Telling = Callable[[_Fault], tuple[str, str]]


def _extra(fault: _Fault) -> tuple[str, str]:
    key = fault.location[-1]
    known = [name for owner in models_at(fault.model, fault.location[:-1]) for name in owner.model_fields]
    return f"there is no key {shown(key)} here", did_you_mean(str(key), known) or f"the keys are {', '.join(known)}"


def _missing(fault: _Fault) -> tuple[str, str]:
    return f"{fault.location[-1]} is missing", f"add it: {fault.description}" if fault.description else "add it"


def _number(fault: _Fault) -> tuple[str, str]:
    unit = next((unit for end, unit in UNITS.items() if fault.name.endswith(end)), "")
    whole = f"a whole number of {unit} without a unit" if unit else "a whole number"
    written = NUMBER_WITH_UNIT.fullmatch(fault.value) if isinstance(fault.value, str) else None
    said = f"{fault.name} is {shown(fault.value)}"
    if written is not None and unit:
        return f"{said}, which carries a unit of its own", f"write {whole}, such as {written[1]}"
    return f"{said}, which is no whole number", f"write {whole}, such as 4"


def _choice(fault: _Fault) -> tuple[str, str]:
    expected = str(fault.context["expected"])
    known = re.findall(r"'([^']*)'", expected)
    near = did_you_mean(fault.value, known) if isinstance(fault.value, str) else ""
    return f"{fault.name} is {shown(fault.value)}", near or f"write {expected}"


def _pattern(fault: _Fault) -> tuple[str, str]:
    pattern = str(fault.context["pattern"])
    return f"{fault.name} is {shown(fault.value)}", f"write {WHAT_MATCHES.get(pattern, f'text that matches {pattern}')}"


def _too_few(fault: _Fault) -> tuple[str, str]:
    least = f"it has at least {fault.context['min_length']}"
    return f"{fault.name} has {fault.context['actual_length']} entries", f"{least}: {fault.description}".removesuffix(
        ": "
    )


def _saying(what: str, right: str) -> Telling:
    """Tells with fixed words, ``{description}``, ``{ge}`` and the like filled in."""

    def tell(fault: _Fault) -> tuple[str, str]:
        words = right.format(description=fault.description, **fault.context)
        return f"{fault.name} is {shown(fault.value)}{what}", words.removesuffix(": ")

    return tell


_NUMBER_TYPES = ("int_parsing", "int_type", "int_from_float", "int_parsing_size")
_MAPPING_TYPES = ("model_type", "model_attributes_type", "dict_type")
TELLINGS: dict[str, Telling] = {
    "bool_type": _saying("", "write true or false"),
    "enum": _choice,
    "extra_forbidden": _extra,
    "float_type": _saying(", which is no number", "write a number, such as 98 or 99.5"),
    "greater_than": _saying(", which is too small", "it is more than {gt}"),
    "greater_than_equal": _saying(", which is too small", "it is at least {ge}"),
    "ip_v4_address": _saying("", "write an IPv4 address, such as 198.18.0.2"),
    "ip_v4_network": _saying("", "write an IPv4 network without host bits, such as 198.18.10.0/24"),
    "less_than_equal": _saying(", which is too large", "it is at most {le}"),
    "literal_error": _choice,
    "missing": _missing,
    "string_pattern_mismatch": _pattern,
    "string_too_long": _saying(", which is too long", "it has at most {max_length} characters"),
    "string_type": _saying(", which is no text", "write text (in quotes if need be): {description}"),
    "too_short": _too_few,
    **dict.fromkeys(_NUMBER_TYPES, _number),
    **dict.fromkeys(("list_type", "tuple_type"), _saying(", which is no list", "write a list: {description}")),
    **dict.fromkeys(_MAPPING_TYPES, _saying(", which is no mapping", "write 'key: value' lines")),
}
"""How each kind of error that a validation knows is told."""


def complain(model: type[BaseModel], detail: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong and what would be right, from one error of a validation of ``model``."""
    location: tuple[str | int, ...] = tuple(detail["loc"])
    fields = _all_fields(model)
    named = [part for part in location if isinstance(part, str)]
    name = next((part for part in reversed(named) if part in fields), named[-1] if named else "the file")
    fault = _Fault(
        model=model,
        location=location,
        name=name,
        value=detail.get("input"),
        context=detail.get("ctx") or {},
        description=_description(model, location),
    )
    if (tell := TELLINGS.get(detail["type"])) is not None:
        return tell(fault)
    reason = str(detail["msg"]).removeprefix("Value error, ")
    if "; " in reason:
        wrong, right = reason.split("; ", 1)
        return wrong, right
    wrong = f"{name} is {shown(fault.value)}: {reason[:1].lower()}{reason[1:]}"
    return wrong, fault.description or "mend it"


def worth_telling(model: type[BaseModel], details: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The errors without those that only follow from others: a key missing because misspelt, and so on."""
    located = [tuple(detail["loc"]) for detail in details]
    misspelt = {
        (*location[:-1], complain(model, detail)[1])
        for location, detail in zip(located, details, strict=True)
        if detail["type"] == "extra_forbidden"
    }

    def follows(location: tuple[str | int, ...], kind: str) -> bool:
        if kind == "missing":
            return (*location[:-1], f"did you mean {location[-1]!r}?") in misspelt
        return kind == "too_short" and any(
            len(other) > len(location) and other[: len(location)] == location for other in located
        )

    return [
        detail for location, detail in zip(located, details, strict=True) if not follows(location, str(detail["type"]))
    ]


@cache
def _all_fields(model: type[BaseModel]) -> set[str]:
    """Names of all fields of a model and of the models inside it."""
    names: set[str] = set()
    waiting: list[object] = [model]
    while waiting:
        annotation = waiting.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names.update(annotation.model_fields)
            waiting.extend(about.annotation for about in annotation.model_fields.values())
        else:
            waiting.extend(get_args(annotation))
    return names
