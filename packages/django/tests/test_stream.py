import base64
import io
import unittest
from unittest import mock

from keyturn_django import stream
from keyturn_django.revocations import Revocations
from keyturn_django.stream import Event, Follower, read_events

from .support import FakeKeyturn, eventually


class Events(unittest.TestCase):
    def read(self, text: bytes):
        return list(read_events(io.BytesIO(text)))

    def test_blocks_are_read_as_html_says(self):
        text = (
            b": comment\nevent: revoked\nid: 7\ndata: [1,\ndata:2]\n\n"
            b"retry: 250\r\n\r\nid:\nevent:x\n\nevent: cut off\n"
        )
        self.assertEqual(
            self.read(text),
            [Event("revoked", "7", "[1,\n2]", None), Event("", None, "", 0.25), Event("x", "", "", None)],
        )

    def test_a_line_without_end_is_an_error(self):
        with self.assertRaises(ValueError):
            self.read(b"data: " + b"x" * (1 << 20))


class TheFollower(unittest.TestCase):
    def setUp(self):
        self.fake = FakeKeyturn()
        self.addCleanup(self.fake.close)
        self.replica = Revocations(30)
        self.follower = Follower(self.fake.issuer, "shop", "a:secret+", self.replica)

    def start(self):
        self.follower.start()
        self.addCleanup(self.follower.close)
        return self.fake.next_stream()

    def has(self, sid: str) -> bool:
        return self.replica.has({"sid": sid})

    def test_it_authenticates_as_a_client_and_asks_for_a_stream(self):
        headers = self.start().headers
        self.assertEqual(headers["Accept"], "text/event-stream")
        self.assertEqual(base64.b64decode(headers["Authorization"].split(" ")[1]), b"shop:a%3Asecret%2B")
        self.assertIsNone(headers["Last-Event-ID"])

    def test_a_snapshot_is_not_known_before_it_is_complete(self):
        connection = self.start()
        connection.heartbeat("0")
        connection.revoke({"sid": "a"}, id="1")
        eventually(lambda: self.has("a"))
        self.assertFalse(self.replica.is_known())
        connection.caught_up("1")
        eventually(self.replica.is_known)
        connection.revoke({"sid": "b"}, {"jti": "c"}, id="2")
        eventually(lambda: self.has("b"))
        self.assertTrue(self.replica.has({"jti": "c"}))

    def test_it_continues_after_the_last_cursor_however_a_stream_ends(self):
        connection = self.start()
        connection.caught_up("1")
        connection.revoke({"sid": "a"}, id="2")
        for number, end in enumerate(("end", "cut"), 3):
            getattr(connection, end)()
            connection = self.fake.next_stream()
            self.assertEqual(connection.headers["Last-Event-ID"], str(number - 1))
            connection.revoke({"sid": f"after {end}"}, id=str(number))
            eventually(lambda end=end: self.has(f"after {end}"))
        self.assertTrue(self.has("a"))

    def test_retry_of_a_draining_worker_is_honoured(self):
        connection = self.start()
        connection.caught_up("1")
        with mock.patch.object(self.follower._closed, "wait", wraps=self.follower._closed.wait) as wait:
            connection.raw("retry: 20\n\n")
            connection.end()
            self.fake.next_stream()
        self.assertLess(wait.call_args_list[0].args[0], 0.031)

    def test_a_reset_takes_nothing_back_and_confirms_nothing_before_the_new_snapshot(self):
        connection = self.start()
        connection.revoke({"sid": "old"}, id="1")
        connection.caught_up("1")
        eventually(self.replica.is_known)
        self.replica._fresh_at = float("-inf")
        connection.raw('event: reset\nid:\ndata: {"epoch":2}\n\n')
        connection.heartbeat("2")
        connection.revoke({"sid": "new"}, id="2")
        eventually(lambda: self.has("new"))
        self.assertFalse(self.replica.is_known())
        self.assertTrue(self.has("old"))
        connection.caught_up("2", epoch=2, lost_before=5)
        eventually(self.replica.is_known)
        self.assertTrue(self.has("old"))
        self.assertTrue(self.replica.has({"sid": "x", "iat": 4}))

    def test_after_a_reset_without_a_new_id_the_next_stream_begins_anew(self):
        connection = self.start()
        connection.caught_up("1")
        connection.raw("event: reset\nid:\ndata: {}\n\n")
        connection.end()
        self.assertIsNone(self.fake.next_stream().headers["Last-Event-ID"])

    def test_a_heartbeat_keeps_it_fresh_and_comments_do_not(self):
        connection = self.start()
        connection.caught_up("1")
        eventually(self.replica.is_known)
        fresh_at = self.replica._fresh_at
        connection.raw(": keep-alive\n\n")
        connection.revoke({"sid": "after"}, id="1")
        eventually(lambda: self.has("after"))
        self.assertEqual(self.replica._fresh_at, fresh_at)
        connection.heartbeat("1")
        eventually(lambda: self.replica._fresh_at > fresh_at)

    def test_silence_is_a_dead_connection(self):
        with mock.patch.object(stream, "SILENCE", 0.2):
            self.start().caught_up("1")
            self.assertEqual(self.fake.next_stream().headers["Last-Event-ID"], "1")

    def test_what_cannot_be_read_is_read_again(self):
        for text in ("event: revoked\nid: 9\ndata: {\n\n", 'event: revoked\ndata: [{"x":1}]\n\n', "event: \xff\n\n"):
            with self.subTest(text):
                fake = FakeKeyturn()
                self.addCleanup(fake.close)
                follower = Follower(fake.issuer, "shop", "s", Revocations(30))
                follower.start()
                self.addCleanup(follower.close)
                connection = fake.next_stream()
                connection.caught_up("1")
                connection.raw(text)
                if text.startswith("event: \xff"):
                    connection.end()
                self.assertEqual(fake.next_stream().headers["Last-Event-ID"], "1")

    def test_a_refusal_ends_the_first_wait_and_is_tried_again(self):
        for status in (503, 429, 404):
            self.fake.refusals.put((status, [("Retry-After", "0")]))
        connection = self.start()
        self.follower.wait_for_first(60)
        self.assertFalse(self.replica.is_known())
        connection.caught_up("1")
        eventually(self.replica.is_known)

    def test_wrong_credentials_are_an_error_in_the_log_and_are_not_repeated_soon(self):
        for status in (401, 403):
            with self.assertLogs("keyturn_django", "ERROR") as logs:
                self.assertEqual(self.follower._delay_after(stream.Refused(status, 1)), stream.REFUSED_DELAY)
            self.assertIn("CLIENT_ID", logs.output[0])

    def test_delays_grow_to_two_seconds_and_not_beyond(self):
        delays = [self.follower._delay_after(OSError()) for _ in range(20)]
        self.assertEqual(delays[:3], [0.1, 0.2, 0.4])
        self.assertEqual(delays[-1], 2)
