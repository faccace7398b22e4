"""The lease of the site where a rollout changes something: taken for the work, given back while it waits for others."""

from contextlib import ExitStack

from pachon.errors import RefusedError
from pachon.store.database import Store
from pachon.store.lease import Lease, heartbeat, hold


class SiteLeases:
    """At most one site's lease, held by one rollout."""

    def __init__(self, store: Store, *, facility: str, command: str) -> None:
        self._store = store
        self._facility = facility
        self._command = command
        self._held: Lease | None = None
        self._stack = ExitStack()

    def have(self, site: str) -> Lease:
        """The lease of the site, and no other is held; one that was taken from us is taken anew.

        Raises:
            LeaseHeldError: another writer has it.
        """
        if self._held is not None and self._held.site == site:
            try:
                heartbeat(self._store, self._held)
            except RefusedError:
                pass  # this process stood still for longer than a lease lives
            else:
                return self._held
        self.give_back()
        context = hold(self._store, site, facility=self._facility, command=self._command)
        self._held = self._stack.enter_context(context)
        return self._held

    @property
    def held(self) -> Lease:
        """The one that is held."""
        assert self._held is not None
        return self._held

    def give_back(self) -> None:
        """Hold none."""
        self._held = None
        self._stack.close()
