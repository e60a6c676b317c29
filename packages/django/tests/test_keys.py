import threading
import unittest

from keyturn_django.exceptions import CannotKnow
from keyturn_django.keys import COOLDOWN, COOLDOWN_AFTER_FAILURE, MAX_AGE, Keys, jwks_url, parse_jwks

from .support import Clock, SigningKey, eventually

ISSUER = "https://auth.example"
FIRST, SECOND = SigningKey("first"), SigningKey("second")


class Issuer:
    """Counts how often its JWKS is fetched. `down` makes it fail."""

    def __init__(self):
        self.keys = [FIRST.jwk]
        self.metadata = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
        self.down = False
        self.fetched = 0

    def __call__(self, url):
        if url == f"{ISSUER}/.well-known/openid-configuration":
            self.fetched += 1
        if self.down:
            raise OSError("down")
        return self.metadata if url.endswith("configuration") else {"keys": self.keys}


class TheKeys(unittest.TestCase):
    def setUp(self):
        self.issuer = Issuer()
        self.clock = Clock(1000)
        self.keys = Keys(ISSUER, ISSUER, self.issuer, self.clock)

    def test_keys_are_fetched_for_the_first_token_and_kept(self):
        for _ in range(3):
            self.assertEqual(self.keys.find("first").algorithm, "ES256")
        self.assertEqual(self.issuer.fetched, 1)

    def test_an_unknown_kid_fetches_the_keys_at_most_once_in_a_while(self):
        self.keys.find("first")
        self.issuer.keys.append(SECOND.jwk)
        self.assertIsNone(self.keys.find("second"), "just fetched")
        self.clock.now += COOLDOWN
        self.assertIsNotNone(self.keys.find("second"))
        for number in range(100):
            self.assertIsNone(self.keys.find(f"made up {number}"))
        self.assertEqual(self.issuer.fetched, 2)

    def test_many_requests_at_once_fetch_the_keys_once(self):
        threads = [threading.Thread(target=self.keys.find, args=("first",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.issuer.fetched, 1)

    def test_known_keys_are_kept_through_an_outage_and_unknown_ones_are_503(self):
        self.keys.find("first")
        self.issuer.down = True
        self.clock.now += MAX_AGE
        self.assertIsNotNone(self.keys.find("first"))
        eventually(lambda: self.issuer.fetched == 2)
        self.clock.now += COOLDOWN
        with self.assertRaises(CannotKnow):
            self.keys.find("second")
        self.assertIsNotNone(self.keys.find("first"))
        fetched = self.issuer.fetched
        with self.assertRaises(CannotKnow):
            self.keys.find("second")
        self.assertEqual(self.issuer.fetched, fetched, "a failure is not repeated by each request")
        self.issuer.down, self.issuer.keys = False, [SECOND.jwk]
        self.clock.now += COOLDOWN_AFTER_FAILURE
        self.assertIsNotNone(self.keys.find("second"))
        self.assertIsNone(self.keys.find("first"), "withdrawn")

    def test_old_keys_are_replaced_in_the_background(self):
        self.keys.find("first")
        self.issuer.keys = [SECOND.jwk]
        self.clock.now += MAX_AGE
        self.assertIsNotNone(self.keys.find("first"), "no request waits")
        eventually(lambda: self.keys.find("first") is None, "the withdrawal of the key")
        self.assertEqual(self.issuer.fetched, 2)

    def test_metadata_of_another_issuer_or_without_a_public_key_is_503(self):
        self.issuer.metadata = {**self.issuer.metadata, "issuer": "https://other.example"}
        with self.assertRaises(CannotKnow):
            self.keys.find("first")
        self.issuer.metadata["issuer"] = ISSUER
        self.issuer.keys = []
        self.clock.now += COOLDOWN_AFTER_FAILURE
        with self.assertRaises(CannotKnow):
            self.keys.find("first")

    def test_a_jwks_uri_that_is_not_as_safe_as_the_issuer_is_not_read(self):
        for uri in ("http://auth.example/jwks", "ftp://auth.example/jwks", "/jwks", None, 7):
            with self.subTest(uri):
                self.issuer.metadata = {"issuer": ISSUER, "jwks_uri": uri}
                self.clock.now += COOLDOWN
                with self.assertRaises(CannotKnow):
                    self.keys.find("first")
        for uri in ("http://auth.example/jwks", "https://auth.example/jwks"):
            self.assertEqual(jwks_url(uri, "http://auth.example"), uri)

    def test_only_public_signing_keys_with_a_known_algorithm_count(self):
        secret = {"kty": "oct", "k": "AAAA", "kid": "secret", "alg": "HS256"}
        strange = [None, {}, {**SECOND.jwk, "use": "enc"}, {**SECOND.jwk, "alg": "HS256"}, {**SECOND.jwk, "x": "!"}]
        unnamed = {name: value for name, value in SECOND.jwk.items() if name != "kid"}
        self.assertEqual(list(parse_jwks({"keys": [secret, *strange, unnamed, FIRST.jwk]})), ["first"])
