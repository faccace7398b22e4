"""What every command shares: the options it takes, the facility it is about, the way it shows progress.

A command is a function with ``@app.command(cls=Command, epilog=example("pachon …"))`` that returns an ``Answer``;
``Call.of(ctx)`` tells what was asked. ``LongCommand`` adds ``--events``. The shared options may stand before or after
the command's name. Modules of commands are loaded when they are used: they import domain rooms inside their functions.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from pachon.errors import UsageError

if TYPE_CHECKING:
    from pachon.model.facility import Facility, Host, Machine, Site
    from pachon.progress import Progress
    from pachon.store.database import Store

Names = Literal["facility", "site", "host", "machine", "group", "service"]


@dataclass
class Call:
    """What the person asked for; filled while the command line is read."""

    facility_name: str = ""
    """A name under inventory/facilities, or a path."""
    site_name: str = ""
    """Empty: every site."""
    as_json: bool = False
    events: Path | None = None
    """File that gets every event as a line of JSON."""
    loaded: str = ""
    """Name of the facility that was loaded, for messages about its state folder."""
    folder: Path | None = None
    """Of the definition that was loaded."""
    notes: tuple[str, ...] = ()
    """What checks have to say of it that forbids nothing."""

    @classmethod
    def of(cls, context: typer.Context) -> "Call":
        """The call behind a command's context."""
        return context.ensure_object(cls)

    @property
    def wanted(self) -> str:
        """Facility asked for: the option, PACHON_FACILITY, or ``lab``."""
        return self.facility_name or os.environ.get("PACHON_FACILITY") or "lab"

    def facility(self) -> "Facility":
        """The resolved facility.

        Raises:
            DefinitionError: with every complaint.
            UsageError: there is no such facility.
        """
        from pachon import places
        from pachon.defined import find, load

        folder = find(self.wanted)
        defined = load(folder)
        facility = defined.facility
        self.loaded, self.folder = facility.name, folder
        with _store(places.state(facility.name)) as store:
            existing = {} if store is None else _allocated(store, [site.name for site in facility.sites])
            dealt = {host.name: host.machine for host in facility.hosts if host.pool}
            if any(dealt.get(host) != machine for host, machine in existing.items()):
                defined = load(folder, existing=existing)
            self.notes = defined.notes
            return defined.facility if store is None else _overlaid(defined.facility, store)

    def name_of_facility(self) -> str:
        """Name of the facility, also where its definition or its store cannot be read but something of it stands here.

        Raises:
            UsageError: there is no such facility.
        """
        from pachon import known

        name = known.name_of(self.wanted)
        if name is None:
            from pachon.definition import find, load

            name = load(find(self.wanted)).name
        self.loaded = name
        return name

    def keep(self, facility: "Facility") -> None:
        """Keep what is about to be built, so that it can be looked at and taken down without its definition."""
        from pachon import known, places

        if self.folder is not None:
            known.keep(facility, self.folder, places.state(facility.name))

    def sites(self, facility: "Facility") -> "tuple[Site, ...]":
        """The sites the command is about.

        Raises:
            UsageError: there is no such site.
        """
        if not self.site_name:
            return facility.sites
        named = tuple(site for site in facility.sites if site.name == self.site_name)
        if not named:
            raise no_such("site", self.site_name, [site.name for site in facility.sites], facility=facility.name)
        return named

    def host(self, facility: "Facility", name: str) -> "Host":
        """The host of that name, at the sites asked for.

        Raises:
            UsageError: there is no such host.
        """
        hosts = {host.name: host for site in self.sites(facility) for host in site.hosts}
        if name not in hosts:
            raise no_such("host", name, list(hosts), facility=facility.name)
        return hosts[name]

    def machine(self, facility: "Facility", name: str) -> "tuple[Site, Machine]":
        """The machine with that serial, or the one that carries the host of that name, with its site.

        Raises:
            UsageError: there is no such machine.
        """
        sites = self.sites(facility)
        by_host = {host.name: host.machine for site in sites for host in site.hosts}
        serial = by_host.get(name, name)
        for site in sites:
            if serial in site.machine_by_serial:
                return site, site.machine_by_serial[serial]
        known = [machine.serial for site in sites for machine in site.machines]
        raise no_such("machine", name, known + list(by_host), facility=facility.name)

    @contextmanager
    def progress(self) -> "Iterator[Progress]":
        """A listener for events: a live display on a terminal, a line per event otherwise, and the events file."""
        from pachon.cli.progress import display

        with display(self.events) as listener:
            yield listener


@contextmanager
def _store(state: Path) -> "Iterator[Store | None]":
    """The store of the facility with that state folder; None if there is none yet."""
    from pachon import places

    where = places.store(state)
    if "://" not in where and not Path(where).exists():
        yield None  # without importing a database's library
        return
    from pachon.store.database import open_if_there

    store = open_if_there(where)
    try:
        yield store
    finally:
        if store is not None:
            store.close()


def _allocated(store: "Store", sites: Sequence[str]) -> dict[str, str]:
    """Machine of each host that was dealt from a pool before."""
    from pachon.store.allocations import allocated

    return {host: machine for site in sites for host, machine in allocated(store, site).items()}


def _overlaid(facility: "Facility", store: "Store") -> "Facility":
    """The facility with the versions that rollouts have left in force on its hosts."""
    from pachon.in_force import overlaid

    return overlaid(facility, store)


def no_such(kind: str, name: str, known: Sequence[str], *, facility: str) -> UsageError:
    """The complaint about a name that does not exist, with the nearest ones."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=3)
    if near:
        cure = f"did you mean {' or '.join(near)}?"
    elif len(known) <= 8:
        cure = f"there is {', '.join(known) or 'none at all'}"
    else:
        cure = f"'pachon {kind} list' names all {len(known)}"
    return UsageError(f"facility {facility!r} has no {kind} {name!r}", cure=cure)


def complete(kind: Names) -> Callable[[typer.Context, str], list[str]]:
    """Names of that kind for the shell's completion, of the facility asked for so far."""

    def names(ctx: typer.Context, incomplete: str) -> list[str]:
        from pachon.cli.facilities import known_names

        call = ctx.find_object(Call) or Call()
        return [name for name in known_names(kind, call.wanted) if name.startswith(incomplete)]

    return names


Sites = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SITE]...", help="Only these sites.", autocompletion=complete("site"), show_default=False),
]
"""The sites that a command is about; all of the facility where none is named."""


def example(*commands: str) -> str:
    """The closing part of a command's help: lines that work in the lab."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)


def _refuse_empty(ctx: typer.Context, name: str, value: str) -> None:
    """An option that was given and says nothing is a shell variable that is not set, and would mean something else."""
    source = ctx.get_parameter_source(name)
    if not value and source is not None and source.name == "COMMANDLINE":
        raise UsageError(f"--{name} is empty", cure=f"give it a name, or leave --{name} out")


def _keep_facility(ctx: typer.Context, value: str) -> None:
    _refuse_empty(ctx, "facility", value)
    call = ctx.ensure_object(Call)
    call.facility_name = value or call.facility_name


def _keep_site(ctx: typer.Context, value: str) -> None:
    _refuse_empty(ctx, "site", value)
    call = ctx.ensure_object(Call)
    call.site_name = value or call.site_name


def _keep_json(ctx: typer.Context, value: bool) -> None:
    call = ctx.ensure_object(Call)
    call.as_json = value or call.as_json


def _keep_events(ctx: typer.Context, value: Path | None) -> None:
    call = ctx.ensure_object(Call)
    call.events = value or call.events


def _shared(
    facility: Annotated[
        str,
        typer.Option(
            help="Name under inventory/facilities, or a path (default: PACHON_FACILITY, or lab).",
            metavar="FACILITY",
            callback=_keep_facility,
            expose_value=False,
            is_eager=True,
            autocompletion=complete("facility"),
            show_default=False,
        ),
    ] = "",
    site: Annotated[
        str,
        typer.Option(
            help="Only this site.",
            metavar="SITE",
            callback=_keep_site,
            expose_value=False,
            is_eager=True,
            autocompletion=complete("site"),
            show_default=False,
        ),
    ] = "",
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON value.", callback=_keep_json, expose_value=False, show_default=False
        ),
    ] = False,
) -> None:
    """The options of every command."""


def _shared_by_long(
    events: Annotated[
        Path | None,
        typer.Option(
            help="Write every event to this file, a line of JSON each.",
            metavar="FILE",
            callback=_keep_events,
            expose_value=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """The options of commands that take longer."""


def _options(function: Callable[..., None]) -> "list[Any]":
    from typer.main import get_command_from_info
    from typer.models import CommandInfo

    command = get_command_from_info(CommandInfo(callback=function), pretty_exceptions_short=True, rich_markup_mode=None)
    return list(command.params)


class Command(TyperCommand):
    """A command with the shared options."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings["params"] = [*(settings.get("params") or ()), *_options(_shared)]
        super().__init__(*arguments, **settings)


class LongCommand(Command):
    """A command with the shared options and ``--events``."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings["params"] = [*(settings.get("params") or ()), *_options(_shared_by_long)]
        super().__init__(*arguments, **settings)


class Group(TyperGroup):
    """A group of commands that takes the shared options before the name of the command."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings["params"] = [*(settings.get("params") or ()), *_options(_shared)]
        super().__init__(*arguments, **settings)


def noun(title: str) -> typer.Typer:
    """An empty group of commands about one kind of thing."""
    app = typer.Typer(cls=Group, help=title, no_args_is_help=True, rich_markup_mode=None, add_completion=False)
    app.callback()(lambda: None)
    return app


def verb() -> typer.Typer:
    """Room for one command that stands alone."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)
