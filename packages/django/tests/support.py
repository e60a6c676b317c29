"""A Keyturn under the tests' control, and clocks that are stepped."""

import base64
import json
import queue
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec


class Clock:
    """Stands still until it is stepped."""

    def __init__(self, now: float):
        self.now = now

    def __call__(self) -> float:
        return self.now


def eventually(condition, what: str = "the condition") -> None:
    """Waits until the condition holds: a minute is for a busy machine."""
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about")
        time.sleep(0.005)


class SigningKey:
    """An ES256 key."""

    def __init__(self, kid: str):
        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())
        numbers = self.private.public_key().public_numbers()
        encode = lambda number: base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()  # noqa: E731
        self.jwk = {
            **{"kty": "EC", "crv": "P-256", "x": encode(numbers.x), "y": encode(numbers.y)},
            **{"kid": kid, "alg": "ES256", "use": "sig"},
        }

    def sign(self, claims: dict, **headers) -> str:
        return jwt.encode(claims, self.private, "ES256", {"kid": self.kid, **headers})


def access_claims(issuer: str, **changes) -> dict:
    """The claims of an access token as Keyturn writes them; a change to None leaves the claim out."""
    now = int(time.time())
    claims = {
        **{"token_type": "access", "exp": now + 300, "iat": now, "jti": uuid.uuid4().hex},
        **{"user_id": "7", "sid": uuid.uuid4().hex, "sub": "7", "iss": issuer},
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


class Stream:
    """One connection at /api/revocations/, from the server's side."""

    def __init__(self, headers, path):
        self.headers = headers
        self.path = path
        self._out = queue.Queue()

    def send(self, event: str, data, id: str = None) -> None:
        lines = [f"event: {event}", *([] if id is None else [f"id: {id}"]), f"data: {json.dumps(data)}"]
        self.raw("\n".join(lines) + "\n\n")

    def raw(self, text: str) -> None:
        self._out.put(text.encode())

    def revoke(self, *entries: dict, id: str) -> None:
        until = int(time.time()) + 360
        self.send("revoked", [{"until": until, **entry} for entry in entries], id)

    def caught_up(self, id: str, **changes) -> None:
        self.send("caught-up", status(id, **changes), id)

    def heartbeat(self, id: str, **changes) -> None:
        self.send("heartbeat", status(id, **changes), id)

    def end(self) -> None:
        self._out.put(None)

    def cut(self) -> None:
        """In the middle of a chunk."""
        self._out.put(False)

    def chunks(self):
        while (chunk := self._out.get()) is not None:
            if chunk is False:
                raise ConnectionAbortedError
            yield chunk


def status(cursor: str, **changes) -> dict:
    return {"cursor": cursor, "epoch": 1, "lost_before": None, "window": 360, "age": 0, "now": 0, **changes}


class FakeKeyturn:
    """Metadata, JWKS and the stream, on a port of its own. Close it."""

    def __init__(self):
        self.key = SigningKey("first")
        self.jwks = {"keys": [self.key.jwk]}
        #: Answers to the next requests for a stream, instead of one: (status, headers).
        self.refusals = queue.Queue()
        self.requests = []
        self._streams = queue.Queue()
        self._open = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self.metadata = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/.well-known/jwks.json"}
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def settings(self, **changes) -> dict:
        return {"ISSUER": self.issuer, "CLIENT_ID": "shop", "CLIENT_SECRET": "a:secret+", **changes}

    def token(self, **changes) -> str:
        return self.key.sign(access_claims(self.issuer, **changes))

    def next_stream(self) -> Stream:
        """The next connection to the stream, once it is there."""
        stream = self._streams.get(timeout=60)
        self._open.append(stream)
        return stream

    def close(self) -> None:
        for stream in self._open:
            stream.end()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                fake.requests.append(self.path)
                if self.path == "/.well-known/openid-configuration":
                    self._json(fake.metadata)
                elif self.path == "/.well-known/jwks.json":
                    self._json(fake.jwks)
                elif not fake.refusals.empty():
                    status, headers = fake.refusals.get()
                    self._json({"detail": "…"}, status, headers)
                else:
                    self._stream()

            def _json(self, value, status=200, headers=()):
                body = json.dumps(value).encode()
                self.send_response(status)
                for name, text in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(body)

            def _stream(self):
                stream = Stream(self.headers, self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                fake._streams.put(stream)
                self.close_connection = True
                try:
                    for chunk in stream.chunks():
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        return Handler
