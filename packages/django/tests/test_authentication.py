import hashlib
import os
import pickle
import threading
import time
import unittest

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import override_settings
from rest_framework.test import APIClient

from keyturn_django.settings import load_settings, parse_settings
from keyturn_django.users import TokenUser
from keyturn_django.verifier import _verifiers, verifier_for

from .support import FakeKeyturn, eventually


class WithKeyturn(unittest.TestCase):
    def use(self, **settings):
        """A Keyturn of its own for this test, and the stream if there is one."""
        self.fake = FakeKeyturn()
        self.addCleanup(self.fake.close)
        override = override_settings(KEYTURN=self.fake.settings(**settings))
        override.enable()
        self.addCleanup(override.disable)
        self.addCleanup(lambda: [verifier.close() for verifier in _verifiers.values()])

    def get(self, token=None, path="/whoami"):
        headers = {} if token is None else {"HTTP_AUTHORIZATION": f"Bearer {token}"}
        return APIClient().get(path, **headers)


class Stateless(WithKeyturn):
    def setUp(self):
        self.use(REVOCATIONS="none")

    def test_the_user_is_made_from_the_claims(self):
        answer = self.get(self.fake.token(sid="s"))
        self.assertEqual(answer.status_code, 200)
        self.assertEqual(answer.json(), {"user": "TokenUser", "id": "7", "session": "s"})

    def test_refusals_have_simple_jwts_bodies(self):
        def refused(header, body, challenge='Bearer realm="api"'):
            answer = APIClient().get("/whoami", **({} if header is None else {"HTTP_AUTHORIZATION": header}))
            self.assertEqual((answer.status_code, answer.json(), answer["WWW-Authenticate"]), (401, body, challenge))

        missing = {"detail": "Authentication credentials were not provided."}
        malformed = {
            "detail": "Authorization header must contain two space-delimited values",
            "code": "bad_authorization_header",
        }
        expired = self.fake.token(exp=int(time.time()) - 1)
        for header in (None, "", "bearer x", "Basic x", expired):
            refused(header, missing)
        for header in ("Bearer", "Bearer a b"):
            refused(header, malformed)
        for token, message in ((expired, "Token is expired"), ("x", "Token is invalid")):
            refused(
                f"Bearer {token}",
                {
                    "detail": "Given token not valid for any token type",
                    "code": "token_not_valid",
                    "messages": [{"token_class": "AccessToken", "token_type": "access", "message": message}],
                },
                'Bearer realm="api", error="invalid_token"',
            )
        client = self.fake.token(user_id=None, client_id="billing", sub="billing")
        unknown = {"detail": "Token contained no recognizable user identification", "code": "token_not_valid"}
        refused(f"Bearer {client}", unknown)

    def test_several_spaces_are_fine_and_a_non_breaking_space_is_not_one(self):
        token = self.fake.token()
        self.assertEqual(APIClient().get("/whoami", HTTP_AUTHORIZATION=f"Bearer \t {token} ").status_code, 200)
        self.assertEqual(APIClient().get("/whoami", HTTP_AUTHORIZATION=f"Bearer\u00a0{token}").status_code, 401)

    def test_of_two_fields_which_servers_join_by_a_comma_neither_is_taken(self):
        one, other = self.fake.token(), self.fake.token()
        body = {
            "detail": "Authorization header must contain two space-delimited values",
            "code": "bad_authorization_header",
        }
        for path in ("/whoami", "/open"):
            for first, second in (
                (f"Bearer {one}", f"Bearer {other}"),
                (f"Bearer {one}", "Basic eDp5"),
                ("Basic eDp5", f"Bearer {one}"),
                (f"Bearer {one}", ""),
                ("", f"Bearer {one}"),
                ("Bearer", one),
            ):
                for comma in (",", ", "):
                    with self.subTest(path=path, first=first[:8], second=second[:8], comma=comma):
                        answer = APIClient().get(path, HTTP_AUTHORIZATION=f"{first}{comma}{second}")
                        self.assertEqual((answer.status_code, answer.json()), (401, body))
        for header in ('Digest username="x", realm="y"', "Basic x,Basic y"):
            self.assertEqual(APIClient().get("/open", HTTP_AUTHORIZATION=header).status_code, 200, "not ours")

    def test_while_the_keys_cannot_be_loaded_it_is_503_with_retry_after(self):
        self.fake.metadata = {}
        answer = self.get(self.fake.token())
        self.assertEqual((answer.status_code, answer.json()), (503, {"detail": "Service temporarily unavailable."}))
        self.assertIn(answer["Retry-After"], {"1", "2", "3", "4", "5"})
        self.assertNotIn("WWW-Authenticate", answer)
        self.assertEqual(self.get().status_code, 401, "no token needs no keys")

    def test_scopes_are_demanded(self):
        allowed = self.get(self.fake.token(scope="orders.write orders.read"), "/orders")
        self.assertEqual(allowed.status_code, 200)
        for scope in (None, "orders", 7):
            answer = self.get(self.fake.token(scope=scope), "/orders")
            self.assertEqual(answer.status_code, 403)
        self.assertEqual(self.get(path="/orders").status_code, 401)

    def test_no_thread_and_no_stream_without_revocations(self):
        self.get(self.fake.token())
        self.assertNotIn("/api/revocations/", self.fake.requests)


class WithRevocations(WithKeyturn):
    def setUp(self):
        self.use()

    def test_the_first_request_waits_for_the_list_and_a_logout_takes_effect_at_once(self):
        token = self.fake.token(sid="s")
        answers = []
        request = threading.Thread(target=lambda: answers.append(self.get(token)))
        request.start()
        stream = self.fake.next_stream()
        stream.revoke({"sid": "other"}, id="1")
        stream.caught_up("1")
        request.join()
        self.assertEqual(answers[0].status_code, 200)
        stream.revoke({"sid": "s"}, id="2")
        eventually(lambda: self.get(token).status_code == 401)
        self.assertEqual(self.get(token).json()["messages"][0]["message"], "Token is blacklisted")
        self.assertEqual(self.get(self.fake.token()).status_code, 200)

    def test_without_the_list_valid_tokens_are_503_and_others_stay_401(self):
        for _ in range(100):
            self.fake.refusals.put((503, []))
        self.assertEqual(self.get(self.fake.token()).status_code, 503)
        self.assertEqual(self.get(self.fake.token(exp=1)).status_code, 401)

    def test_a_stale_list_is_503_and_what_was_revoked_stays_401(self):
        first = threading.Thread(target=lambda: self.get(self.fake.token()))
        first.start()
        stream = self.fake.next_stream()
        stream.revoke({"sid": "s"}, id="1")
        stream.caught_up("1", age=31_000)
        first.join()
        self.assertEqual(self.get(self.fake.token(sid="s")).status_code, 401)
        self.assertEqual(self.get(self.fake.token()).status_code, 503)
        stream.heartbeat("1")
        eventually(lambda: self.get(self.fake.token()).status_code == 200)

    def test_a_forked_process_follows_the_list_by_itself(self):
        first = threading.Thread(target=lambda: self.get(self.fake.token()))
        first.start()
        stream = self.fake.next_stream()
        stream.caught_up("1")
        first.join()
        token = self.fake.token(sid="s")
        accepted, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.write(tell, str(self.get(token).status_code).encode())
                eventually(lambda: self.get(token).status_code == 401)
                code = 0
            finally:
                os._exit(code)
        own = self.fake.next_stream()
        self.assertIsNone(own.headers["Last-Event-ID"])
        own.caught_up("1")
        self.assertEqual(os.read(accepted, 3), b"200")
        own.revoke({"sid": "s"}, id="2")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertEqual(self.get(token).status_code, 200, "the parent has its own stream")


class UsersOfTheProject(WithKeyturn):
    @classmethod
    def setUpClass(cls):
        call_command("migrate", verbosity=0)

    def setUp(self):
        self.use(REVOCATIONS="none", USER_ID_FIELD="id")
        self.users = get_user_model().objects
        self.user = self.users.create_user("vitor")
        self.addCleanup(lambda: self.users.all().delete())

    def test_the_user_is_loaded_by_the_tokens_user_id(self):
        answer = self.get(self.fake.token(user_id=str(self.user.pk)))
        self.assertEqual((answer.status_code, answer.json()["user"], answer.json()["id"]), (200, "User", self.user.pk))

    def test_users_who_are_not_there_or_inactive_are_401(self):
        for user_id in ("0", "9" * 30, "49f6c732-0000-4000-8000-000000000000", ""):
            answer = self.get(self.fake.token(user_id=user_id))
            self.assertEqual(
                (answer.status_code, answer.json()), (401, {"detail": "User not found", "code": "user_not_found"})
            )
        self.users.update(is_active=False)
        answer = self.get(self.fake.token(user_id=str(self.user.pk)))
        self.assertEqual(
            (answer.status_code, answer.json()), (401, {"detail": "User is inactive", "code": "user_inactive"})
        )

    def test_a_token_from_before_a_password_change_is_refused_with_check_revoke_token(self):
        self.use(REVOCATIONS="none", USER_ID_FIELD="id", CHECK_REVOKE_TOKEN=True)
        fingerprint = hashlib.md5(self.user.password.encode()).hexdigest().upper()
        token = self.fake.token(user_id=str(self.user.pk), hash_password=fingerprint)
        self.assertEqual(self.get(token).status_code, 200)
        self.user.set_password("another one")
        self.user.save()
        body = {"detail": "The user's password has been changed.", "code": "password_changed"}
        self.assertEqual(self.get(token).json(), body)


class Users(unittest.TestCase):
    def test_a_token_user_has_the_attributes_of_simple_jwts(self):
        user = TokenUser("7", {"username": "vitor", "is_staff": True, "plan": "gold"})
        self.assertEqual((user.id, user.pk, user.username, user.get_username()), ("7", "7", "vitor", "vitor"))
        self.assertEqual((user.is_staff, user.is_superuser, user.is_active), (True, False, True))
        self.assertEqual((user.plan, user.absent), ("gold", None))
        self.assertEqual((user.has_perm("x"), user.get_all_permissions(), str(user)), (False, set(), "TokenUser 7"))
        self.assertEqual(len({user, TokenUser("7", {})}), 1)
        self.assertEqual(pickle.loads(pickle.dumps(user)).plan, "gold")


class TheSettings(unittest.TestCase):
    def test_wrong_settings_are_named(self):
        valid = {"ISSUER": "https://auth.example", "CLIENT_ID": "shop", "CLIENT_SECRET": "s"}
        self.assertEqual(parse_settings({**valid, "ISSUER": "https://auth.example/"}).base_url, "https://auth.example")
        cases = {
            "ISSUER": [None, {}, {**valid, "ISSUER": "auth.example"}, {**valid, "ISSUER": None}],
            "ISUER": [{**valid, "ISUER": 1}],
            "CLIENT_SECRET": [{"ISSUER": valid["ISSUER"]}, {**valid, "CLIENT_SECRET": ""}],
            "REVOCATIONS": [{**valid, "REVOCATIONS": True}],
            "STALENESS": [{**valid, "STALENESS": value} for value in ("30", -1, 0, True, 90000)],
            "LEEWAY": [{**valid, "LEEWAY": -1}],
        }
        for name, wrongs in cases.items():
            for wrong in wrongs:
                with self.subTest(wrong), self.assertRaisesRegex(ImproperlyConfigured, name):
                    parse_settings(wrong)

    def test_there_is_one_verifier_in_a_process(self):
        self.assertIs(verifier_for(load_settings()), verifier_for(load_settings()))
