"""Who may use a BMC: Basic credentials or a session token, for one machine each."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from infra.lab.bmc.documents import SESSION_SECONDS
from infra.lab.bmc.problems import RefusalError, unauthorized
from pachon.model.facility import Serial

MAX_SESSIONS = 32


@dataclass
class Session:
    """An open session; it ends when unused for SESSION_SECONDS."""

    identity: str
    user: str
    token: str
    until: float


class Access:
    """Checks credentials and keeps the sessions of every BMC of a process."""

    def __init__(self, users: Mapping[str, SecretStr], clock: Callable[[], float]) -> None:
        self._users = {name: secret.get_secret_value().encode() for name, secret in users.items()}
        self._clock = clock
        self._sessions: dict[Serial, dict[str, Session]] = {}

    def known(self, user: str, password: str) -> bool:
        """Whether the password is the user's; takes equally long for an unknown user."""
        wanted = self._users.get(user, secrets.token_bytes(16))
        return hmac.compare_digest(wanted, password.encode()) and user in self._users

    def check(self, serial: Serial, authorization: str | None, token: str | None) -> None:
        """Pass if either credential is right.

        Raises:
            RefusalError: 401.
        """
        if token is not None:
            for session in self._open(serial).values():
                if hmac.compare_digest(session.token.encode(), token.encode()):
                    session.until = self._clock() + SESSION_SECONDS
                    return
            raise unauthorized()
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            raise unauthorized()
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise unauthorized() from error
        if not self.known(user, password):
            raise unauthorized()

    def open(self, serial: Serial, user: str, password: str) -> Session:
        """A new session.

        Raises:
            RefusalError: 401 for wrong credentials, 503 when there are too many sessions.
        """
        if not self.known(user, password):
            raise unauthorized()
        sessions = self._open(serial)
        if len(sessions) >= MAX_SESSIONS:
            raise RefusalError(503, "SessionLimitExceeded", "Too many sessions are open.", cure="Delete one, or wait.")
        made = Session(secrets.token_hex(4), user, secrets.token_urlsafe(24), self._clock() + SESSION_SECONDS)
        sessions[made.identity] = made
        return made

    def close(self, serial: Serial, identity: str) -> bool:
        """Whether there was such a session to end."""
        return self._open(serial).pop(identity, None) is not None

    def listing(self, serial: Serial) -> tuple[tuple[str, str], ...]:
        """(id, user) of the open sessions."""
        return tuple((session.identity, session.user) for session in self._open(serial).values())

    def _open(self, serial: Serial) -> dict[str, Session]:
        sessions = self._sessions.setdefault(serial, {})
        now = self._clock()
        for identity in [key for key, session in sessions.items() if session.until < now]:
            del sessions[identity]
        return sessions
