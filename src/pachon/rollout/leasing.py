"""The lease of the site where a rollout changes something: taken for the work, given back while it waits for others."""

from contextlib import ExitStack

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

    def have(self, site: str) -> None:
        """Hold the lease of the site, and no other.

        Raises:
            LeaseHeldError: another writer has it.
            RefusedError: it was taken from us.
        """
        if self._held is not None and self._held.site == site:
            heartbeat(self._store, self._held)
            return
        self.give_back()
        context = hold(self._store, site, facility=self._facility, command=self._command)
        self._held = self._stack.enter_context(context)

    def give_back(self) -> None:
        """Hold none."""
        self._held = None
        self._stack.close()
