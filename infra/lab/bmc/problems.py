"""Redfish's way of refusing: an HTTP status and a body with messages of the Base registry (DSP0266, section 8.6)."""

import json
from collections.abc import Sequence

from aiohttp import web

HEADERS = {"OData-Version": "4.0", "Cache-Control": "no-store"}


class RefusalError(Exception):
    """A request that is refused; ``response`` turns it into what the client gets."""

    def __init__(
        self, status: int, message_id: str, message: str, *, cure: str = "", about: str = "", allow: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message_id = message_id
        self.message = message
        self.cure = cure or "Correct the request and send it again."
        self.about = about
        """JSON pointer of the property that is wrong."""
        self.allow = tuple(allow)

    def response(self) -> web.Response:
        """The answer: status, headers and a Redfish error body."""
        identifier = f"Base.1.18.{self.message_id}"
        detail: dict[str, object] = {
            "@odata.type": "#Message.v1_2_0.Message",
            "MessageId": identifier,
            "Message": self.message,
            "MessageSeverity": "Critical" if self.status >= 500 else "Warning",
            "Resolution": self.cure,
        }
        if self.about:
            detail["RelatedProperties"] = [self.about]
        body = {"error": {"code": identifier, "message": self.message, "@Message.ExtendedInfo": [detail]}}
        headers = dict(HEADERS)
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="BMC"'
        if self.allow:
            headers["Allow"] = ", ".join(self.allow)
        return web.Response(status=self.status, text=json.dumps(body), content_type="application/json", headers=headers)


def unauthorized() -> RefusalError:
    """No or wrong credentials."""
    return RefusalError(401, "NoValidSession", "There is no valid session established with the implementation.")


def not_found(path: str) -> RefusalError:
    """No such resource."""
    return RefusalError(404, "ResourceMissingAtURI", f"The resource at the URI '{path}' was not found.")


def not_allowed(method: str, allow: Sequence[str]) -> RefusalError:
    """The resource is there but does not take this method."""
    return RefusalError(405, "OperationNotAllowed", f"The resource does not allow {method}.", allow=allow)


def malformed(message: str = "The request body is not a JSON object.") -> RefusalError:
    """A body that cannot be read."""
    return RefusalError(400, "MalformedJSON", message)


def unknown_property(name: str) -> RefusalError:
    """A property that the resource does not have or that cannot be written."""
    return RefusalError(
        400, "PropertyUnknown", f"The property '{name}' is not one that can be written.", about=f"#/{name}"
    )


def wrong_type(name: str, wanted: str) -> RefusalError:
    """A value of another JSON type than the property has."""
    message = f"The value of '{name}' is not of type {wanted}."
    return RefusalError(400, "PropertyValueTypeError", message, about=f"#/{name}")


def wrong_value(name: str, value: object, allowed: str) -> RefusalError:
    """A value of the right type that is not among the allowed ones."""
    message = f"The value '{value}' of '{name}' is not allowed; allowed: {allowed}."
    return RefusalError(400, "PropertyValueNotInList", message, about=f"#/{name}")


def missing_parameter(action: str, name: str) -> RefusalError:
    """An action without a parameter that it needs."""
    return RefusalError(400, "ActionParameterMissing", f"The action '{action}' needs the parameter '{name}'.")
