import base64
import hmac
import json
import time
import unittest

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyturn_django.exceptions import TokenError
from keyturn_django.keys import parse_jwks
from keyturn_django.settings import parse_settings
from keyturn_django.tokens import read_token, user_id_of

from .support import SigningKey, access_claims

ISSUER = "https://auth.example"
KEY = SigningKey("k")


class OneKey:
    find = parse_jwks({"keys": [KEY.jwk]}).get


def read(raw, now=None, **settings):
    given = {"ISSUER": ISSUER, "REVOCATIONS": "none", **settings}
    return read_token(raw, OneKey, parse_settings(given), time.time() if now is None else now)


def encode(part) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_text(payload: str) -> str:
    """A token of any payload: jwt.encode refuses those that it finds wrong."""
    return jwt.PyJWS().encode(payload.encode(), KEY.private, "ES256", {"kid": "k"})


class Tokens(unittest.TestCase):
    def refused(self, message, raw, now=None, **settings):
        with self.assertRaises(TokenError) as caught:
            read(raw, now, **settings)
        self.assertEqual(str(caught.exception), message)

    def test_a_valid_token_is_read_as_its_claims(self):
        claims = access_claims(ISSUER)
        self.assertEqual(read(KEY.sign(claims)), claims)

    def test_a_token_is_refused_for_the_first_fault_in_simple_jwts_order(self):
        now = int(time.time())
        cases = [
            ("Token is expired", {"exp": now - 1}),
            ("Token is expired", {"exp": now - 1, "token_type": "refresh", "jti": None}),
            ("Token has no 'exp' claim", {"exp": None}),
            ("Token has no id", {"jti": None}),
            ("Token has no type", {"token_type": None}),
            ("Token has wrong type", {"token_type": "refresh"}),
            ("Token is invalid", {"iss": "https://other.example"}),
            ("Token is invalid", {"iss": None}),
            ("Token is invalid", {"iss": "https://other.example", "exp": now - 1}),
            ("Token is invalid", {"nbf": now + 60}),
            ("Token is invalid", {"iat": now + 60}),
            ("Token is invalid", {"exp": "2999"}),
            ("Token is invalid", {"exp": float("inf")}),
            ("Token is invalid", {"exp": True}),
            ("Token is invalid", {"jti": 7}),
            ("Token is invalid", {"sub": 7}),
            ("Token is invalid", {"sid": 7}),
            ("Token is invalid", {"aud": {"a": 1}}),
        ]
        for message, changes in cases:
            with self.subTest(changes):
                self.refused(message, sign_text(json.dumps(access_claims(ISSUER, **changes))))

    def test_an_expiry_is_a_number_of_seconds_up_to_the_year_9999(self):
        now = int(time.time())
        for exp in (now + 60.5, 253_402_300_799):
            self.assertEqual(read(sign_text(json.dumps(access_claims(ISSUER, exp=exp))))["exp"], exp)
        cases = [
            *(("Token is invalid", exp) for exp in ("253402300799.5", "253402300800", "9007199254740992", "1e308")),
            *(("Token is invalid", exp) for exp in ("1" + "0" * 2000, "1e999", "NaN", '"2999999999"', "true", "[1]")),
            *(("Token is expired", exp) for exp in ("0", "-1", "-1e308", "-1" + "0" * 2000, f"{now - 0.5}")),
        ]
        for message, exp in cases:
            payload = json.dumps(access_claims(ISSUER, exp=0)).replace('"exp": 0', f'"exp": {exp}')
            with self.subTest(exp[:20]):
                self.refused(message, sign_text(payload))

    def test_a_token_is_expired_on_the_second_of_exp_and_leeway_moves_it(self):
        token = KEY.sign(access_claims(ISSUER, exp=1000, iat=900))
        self.assertTrue(read(token, now=999.9))
        self.refused("Token is expired", token, now=1000)
        self.assertTrue(read(token, now=1009.9, LEEWAY=10))
        self.refused("Token is expired", token, now=1010, LEEWAY=10)

    def test_iat_may_be_5_seconds_ahead(self):
        token = KEY.sign(access_claims(ISSUER, exp=2000, iat=1005))
        self.assertTrue(read(token, now=1000))
        self.refused("Token is invalid", token, now=999)

    def test_an_audience_is_demanded_only_where_it_is_configured(self):
        self.assertTrue(read(KEY.sign(access_claims(ISSUER, aud="other"))))
        for aud in ("shop", ["other", "shop"]):
            self.assertTrue(read(KEY.sign(access_claims(ISSUER, aud=aud)), AUDIENCE="shop"))
        for aud in ("other", [], None):
            self.refused("Token is invalid", KEY.sign(access_claims(ISSUER, aud=aud)), AUDIENCE="shop")

    def test_a_forged_token_is_refused(self):
        claims = access_claims(ISSUER)
        valid = KEY.sign(claims)
        header, payload, signature = valid.split(".")
        pem = KEY.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        hs256 = f"{encode({'alg': 'HS256', 'kid': 'k'})}.{payload}"
        forgeries = {
            "tampered": f"{header}.{encode({**claims, 'user_id': '1'})}.{signature}",
            "of another key": SigningKey("k").sign(claims),
            "of an unknown key": KEY.sign(claims, kid="x"),
            "without a kid": jwt.encode(claims, KEY.private, "ES256"),
            "unsigned": f"{encode({'alg': 'none', 'kid': 'k'})}.{payload}.",
            "the public key for a secret": f"{hs256}.{encode(hmac.digest(pem, hs256.encode(), 'sha256'))}",
            "with crit": KEY.sign(claims, crit=["x"], x=1),
            "with padding": f"{valid}=",
            "with a line break": f"{header}.{payload}\n.{signature}",
            "with characters that base64 skips": f"{header}.{payload}.!{signature}",
            "with stray bits": valid[:-1] + chr(ord(valid[-1]) + 1),
            "of two parts": f"{header}.{payload}",
            "of four parts": f"{valid}.{signature}",
            "garbage": "x",
            "empty": "..",
            "a payload that is not an object": sign_text("[]"),
            "nested beyond Python's stack": f"{encode(b'[' * 2900)}.{payload}.{signature}",
            "too long": KEY.sign({**claims, "x": "x" * 4096}),
            "not ASCII": f"{header}.{payload}.é",
        }
        for name, token in forgeries.items():
            with self.subTest(name):
                self.refused("Token is invalid", token)

    def test_no_token_is_an_unforeseen_error(self):
        for exp in ("1e999", "NaN", "1" * 2000, "-1" + "0" * 2000, "{}", "null"):
            payload = json.dumps(access_claims(ISSUER, exp=0)).replace('"exp": 0', f'"exp": {exp}')
            try:
                read(sign_text(payload))
            except TokenError:
                pass

    def test_the_user_id_is_text_and_a_client_is_not_a_user(self):
        self.assertEqual(user_id_of({"user_id": "7"}, "user_id"), "7")
        self.assertEqual(user_id_of({"user_id": 7, "client_id": "keyturn", "sub": "7"}, "user_id"), "7")
        self.assertEqual(user_id_of({"uid": "7"}, "uid"), "7")
        for claims in ({}, {"user_id": True}, {"user_id": ["7"]}, {"user_id": "7", "client_id": "shop", "sub": "shop"}):
            self.assertIsNone(user_id_of(claims, "user_id"))
