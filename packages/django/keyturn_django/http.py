"""Requests to Keyturn with the standard library."""

import http.client
import json
import ssl
from urllib.parse import urlsplit

#: What goes wrong between two hosts. ssl.SSLError is an OSError.
NetworkError = (OSError, http.client.HTTPException, ValueError)

_LARGEST = 1 << 20


def connect(url: str, timeout: float):
    """An open connection to the host of this URL, and the path to request."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    connection.connect()
    return connection, parts.path + (f"?{parts.query}" if parts.query else "")


def get_json(url: str, timeout: float = 5) -> dict:
    """The JSON object at this URL. Raises one of NetworkError. Redirects are not followed."""
    connection, path = connect(url, timeout)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read(_LARGEST)
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"{url} answered {response.status}, expected 200")
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError(f"{url}: expected a JSON object")
    return value
