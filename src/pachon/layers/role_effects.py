"""What roles leave on hosts beyond what Ansible tells of plays: read from their text with the host's arguments.

That is what images bring (``tasks/image.yml`` of a baked role is not played), and what a role says itself of tasks and
handlers that cannot be understood by their module: ``host/leaves.yml`` lists for each such task, by its name, the tasks
that would leave the same (an empty list: nothing). It is never played. It has two keywords of its own: ``whole`` (of a
folder: nothing else may lie in it) and ``anew`` (each play that mends it makes another one).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pachon.errors import TemporaryError
from pachon.layers.role_trees import PLAYBOOKS, has_host_part, has_image_part, role_texts, role_trees
from pachon.model.effects import BUILTIN, INEXPRESSIBLE, MODULES, NOTHING, effects_of
from pachon.model.manifest import Subject, subjects_of

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.nativetypes import NativeEnvironment

NEVER = "never"
READ = ("dest", "enabled", "force", "name", "path", "src", "state")
"""Arguments that decide what a task manages."""
UNIT_MODULES = ("service", "systemd", "systemd_service")
KEYWORDS = (
    "anew",
    "loop",
    "loop_control",
    "name",
    "no_log",
    "notify",
    "register",
    "changed_when",
    "tags",
    "when",
    "whole",
)
SURROUNDINGS = {"ansible_connection": "ssh", "pachon_state": "/nonexistent"}
"""A live host is no tree that is being baked; where on the controller a file comes from decides nothing there."""


@dataclass
class Leavings:
    """What a role leaves on a host."""

    subjects: list[Subject] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Tasks whose effect cannot be expressed."""
    said: frozenset[str] = frozenset()
    """Tasks and handlers of which the role says it itself."""


def leavings(role: str, arguments: Mapping[str, Any], *, baked: bool, playbooks: Path = PLAYBOOKS) -> Leavings:
    """What the role leaves that no play tells of; with ``baked`` also what its image brings."""
    return _read(role, arguments, ("image",) if baked else (), playbooks)


def foreseen(role: str, arguments: Mapping[str, Any], *, host_only: bool, playbooks: Path = PLAYBOOKS) -> list[Subject]:
    """What a play of the role will leave, of the tasks that can be understood before it.

    ``host_only``: without what its image brings.
    """
    return _read(role, arguments, ("host",) if host_only else ("main", "image", "host"), playbooks).subjects


def unforeseen(role: str, arguments: Mapping[str, Any], playbooks: Path = PLAYBOOKS) -> list[str]:
    """Tasks of which only their play tells what they leave."""
    return _read(role, arguments, ("main", "image", "host"), playbooks).unknown


def _read(role: str, arguments: Mapping[str, Any], books: Collection[str], playbooks: Path) -> Leavings:
    """What these files of tasks leave, and what the role says itself."""
    folder = playbooks / "roles" / role
    said: Mapping[str, list[Any]] = _yaml(folder / "host" / "leaves.yml") or {}
    variables = {**(_yaml(folder / "defaults" / "main.yml") or {}), **arguments, **SURROUNDINGS}
    made = Leavings(said=frozenset(said))
    for task in (task for book in books for task in _yaml(folder / "tasks" / f"{book}.yml") or []):
        _take(made, task, variables, folder, owner=str(task.get("name", "")))
    for handler in _yaml(folder / "handlers" / "main.yml") or []:
        if _bare(handler) not in (*MODULES, *NOTHING) and handler["name"] not in said:
            made.unknown.append(handler["name"])
    for owner, tasks in said.items():
        for task in tasks:
            _take(made, {"name": "", **task}, variables, folder, owner=owner)
    return made


@lru_cache(maxsize=256)
def handlers_of(role: str, playbooks: Path = PLAYBOOKS) -> frozenset[str]:
    """Names of the role's handlers."""
    listed = _yaml(playbooks / "roles" / role / "handlers" / "main.yml") or []
    return frozenset(handler["name"] for handler in listed)


def units_told(role: str, tasks: Collection[str], playbooks: Path = PLAYBOOKS) -> dict[str, str]:
    """Units of the handlers that these tasks notify, each with what is done to it, as handlers have it.

    Nothing of a handler that is no unit's, nor of one whose unit or state is worked out only when it is played.
    """
    folder = playbooks / "roles" / role
    told = {
        name
        for path in sorted((folder / "tasks").glob("*.yml"))
        for task in _yaml(path) or []
        if task.get("name") in tasks
        for name in _listed(task.get("notify"))
    }
    found = {}
    for handler in _yaml(folder / "handlers" / "main.yml") or []:
        if told.isdisjoint([handler["name"], *_listed(handler.get("listen"))]):
            continue
        given = handler[_module(handler)] if _bare(handler) in UNIT_MODULES else {}
        if given.get("state") in ("reloaded", "restarted") and "{" not in str(given.get("name", "{")):
            found[str(given["name"])] = str(given["state"])
    return found


def image_tasks_of(role: str, playbooks: Path = PLAYBOOKS) -> frozenset[str]:
    """Names of the tasks that are baked into images."""
    listed = _yaml(playbooks / "roles" / role / "tasks" / "image.yml") or []
    return frozenset(task["name"] for task in listed)


def read_anew() -> str:
    """One digest of the texts of all roles as they are now: from here on this process goes by them.

    Raises:
        TemporaryError: files move while they are read.
    """
    for known in (role_trees, has_host_part, has_image_part, handlers_of, _yaml):
        known.cache_clear()
    return role_texts()


def _take(made: Leavings, task: Mapping[str, Any], variables: Mapping[str, Any], folder: Path, *, owner: str) -> None:
    from jinja2 import TemplateError

    if NEVER in _listed(task.get("tags")) or task.get("name") in made.said:
        return
    try:
        module = _module(task)
        if module.removeprefix(BUILTIN) in NOTHING:
            return
        for arguments in _calls(task, module, variables):
            effects = effects_of(
                module,
                arguments,
                secret=bool(task.get("no_log")),
                whole=bool(task.get("whole")),
                copied=_copied(folder / "files", str(arguments.get("src") or "")),
            )
            if effects is None:
                made.unknown.append(owner)
                return
            anew = bool(task.get("anew"))
            made.subjects += subjects_of(({**effect, "anew": anew} for effect in effects), owner=owner)
    except (AttributeError, TemplateError, TypeError, ValueError):  # it is written in a way that only Ansible reads
        made.unknown.append(owner)


def _calls(task: Mapping[str, Any], module: str, variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The resolved arguments, for each item of the loop for which its condition holds."""
    items = _resolved(task["loop"], variables) if "loop" in task else [None]
    for item in items:
        seen = {**variables, "item": item}
        if all(_resolved("{{ (" + str(each) + ") }}", seen) for each in _listed(task.get("when"))):
            given = task[module] or {}
            yield {key: _resolved(value, seen) for key, value in given.items() if key in READ}


def _resolved(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(each, variables) for each in value]
    if not isinstance(value, str) or "{" not in value:
        return value
    return _template(value).render(variables)


@lru_cache(maxsize=1)
def _environment() -> "NativeEnvironment":
    from jinja2 import StrictUndefined
    from jinja2.nativetypes import NativeEnvironment

    made = NativeEnvironment(undefined=StrictUndefined)
    made.filters["ternary"] = lambda value, yes, no: yes if value else no  # Ansible's
    return made


@lru_cache(maxsize=1024)
def _template(text: str) -> "Template":
    return _environment().from_string(text)


def _module(task: Mapping[str, Any]) -> str:
    """The key of a task that is its module's name."""
    (name,) = [key for key in task if key not in KEYWORDS and key not in ("args", "become", "listen")]
    return name


def _bare(task: Mapping[str, Any]) -> str:
    """Its module's name as the closed list has it."""
    return _module(task).removeprefix(BUILTIN)


def _copied(files: Path, source: str) -> list[str]:
    folder = files / source
    if not source or not folder.is_dir():
        return []
    above = folder if source.endswith("/") else folder.parent
    inside = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(str(path.relative_to(above)) for path in inside)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def modules_of(role: str, playbooks: Path = PLAYBOOKS) -> set[str]:
    """Modules that the role uses and that are not in the closed list."""
    folder = playbooks / "roles" / role
    books = [*(folder / "tasks").glob("*.yml"), *(folder / "handlers").glob("*.yml")]
    used = {_bare(task) for path in books for task in _yaml(path) or []}
    return used - {*MODULES, *NOTHING, *INEXPRESSIBLE}


@lru_cache(maxsize=256)
def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text()) if path.is_file() else None
    except (OSError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise TemporaryError(
            f"{path} cannot be read: {said}", cure="mend it, then run the same command again"
        ) from error
