"""Runs on the host of a site's Prometheus: one request to its HTTP API, with the host's own certificate.

Sent over SSH and run as root (``pachon.drivers.prometheus``); needs nothing but the standard library.
"""

import http.client
import ssl
from typing import Any
from urllib.parse import urlencode

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024


def main(call: dict[str, Any]) -> dict[str, Any]:
    """Status and body of the answer; or ``away``: no answer; or ``distrusted``: its certificate is not good."""
    try:
        trust = ssl.create_default_context(cafile=call["trust"])
        trust.load_cert_chain(call["certificate"], call["key"])
        link = http.client.HTTPSConnection(call["address"], call["port"], timeout=call["seconds"], context=trust)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        link.request("POST", call["path"], body=urlencode(call["parameters"]), headers=headers)
        answer = link.getresponse()
        body = answer.read(LARGEST_ANSWER_BYTES + 1)
    except ssl.SSLCertVerificationError as error:
        return {"distrusted": error.verify_message or str(error)}
    except TimeoutError:
        return {"away": f"no answer within {call['seconds']:g} s"}
    except (OSError, http.client.HTTPException) as error:
        return {"away": str(error) or type(error).__name__}
    if len(body) > LARGEST_ANSWER_BYTES:
        return {"status": 413, "body": ""}
    return {"status": answer.status, "body": body.decode(errors="replace")}
