import base64
import io
import unittest
from unittest import mock

from keyturn_django import stream
from keyturn_django.revocations import Revocations
from keyturn_django.stream import Event, Follower, read_events

from .support import Clock, FakeKeyturn, eventually


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

    def test_an_event_without_end_is_an_error_and_comments_do_not_add_up(self):
        long = b"x" * 600_000 + b"\n"
        with self.assertRaises(ValueError):
            self.read((b"data: " + long) * 2)
        self.assertEqual(len(self.read((b"data: " + long + b"\n") * 3)), 3)
        self.assertEqual(self.read((b": " + long) * 3), [])


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

    def test_a_status_that_would_count_as_fresh_for_ever_confirms_nothing(self):
        for age in ("-1e12", "NaN", "Infinity", '"x"', "null"):
            with self.subTest(age):
                fake = FakeKeyturn()
                self.addCleanup(fake.close)
                replica = Revocations(30)
                follower = Follower(fake.issuer, "shop", "s", replica)
                follower.start()
                self.addCleanup(follower.close)
                status = '{"epoch":1,"lost_before":null,"window":360,"age":%s}' % age
                fake.next_stream().raw(f"event: caught-up\nid: 9\ndata: {status}\n\n")
                self.assertIsNone(fake.next_stream().headers["Last-Event-ID"])
                self.assertFalse(replica.is_known())

    def test_numbers_that_no_clock_reaches_are_not_taken(self):
        for data in ('[{"sid":"a","until":NaN}]', '[{"sid":"a","until":1e999}]', '[{"sid":"a","until":1%s}]' % ("0" * 400)):
            with self.subTest(data[:30]), self.assertRaises((ValueError, OverflowError)):
                self.follower._take(Event("revoked", None, data, None))
        for lost_before in ("NaN", "Infinity", "-1"):
            data = '{"epoch":1,"lost_before":%s,"window":360,"age":0}' % lost_before
            with self.subTest(data), self.assertRaises(ValueError):
                self.follower._take(Event("caught-up", None, data, None))
        self.assertFalse(self.has("a"))
        self.assertFalse(self.replica.is_known())

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

    def test_a_server_whose_streams_do_not_last_is_asked_less_and_less_often(self):
        endings = {
            "at once": lambda connection: None,
            "after the snapshot": lambda connection: connection.caught_up("1"),
            "after a heartbeat": lambda connection: (connection.caught_up("1"), connection.heartbeat("1")),
            "after a reset": lambda connection: (connection.caught_up("1"), connection.raw("event: reset\nid:\n\n")),
        }
        for name, before_the_end in endings.items():
            for end in ("end", "cut"):
                with self.subTest(f"{end} {name}"):
                    delays = self.delays_of(before_the_end, end)
                    self.assertEqual(delays[1:], [0.2, 0.4, 0.8])
                    self.assertLessEqual(delays[0], 0.1)

    def delays_of(self, before_the_end, end: str):
        fake = FakeKeyturn()
        self.addCleanup(fake.close)
        follower = Follower(fake.issuer, "shop", "s", Revocations(30))
        delays = []

        def wait(seconds):
            delays.append(seconds)
            return len(delays) == 4 and follower._closed.set()

        unjittered = mock.patch.object(stream.random, "uniform", lambda *_: 1)
        with mock.patch.object(follower._closed, "wait", wait), unjittered:
            follower.start()
            for _ in range(4):
                connection = fake.next_stream()
                connection.raw("retry: 0\n\n")
                before_the_end(connection)
                getattr(connection, end)()
            eventually(lambda: len(delays) == 4)
        return delays

    def test_after_a_stream_that_lasted_for_five_seconds_the_next_retry_is_quick_again(self):
        clock = Clock(1000)
        self.follower = Follower(self.fake.issuer, "shop", "s", self.replica, clock)
        for lasted, delays in ((4, [0.1, 0.2, 0.4]), (5, [0.1, 0.1, 0.1])):
            self.follower._failures = 0
            for delay in delays:
                self.follower._caught_up_at = clock()
                clock.now += lasted
                self.assertEqual(self.follower._delay_after(None), delay)
        connection = self.start()
        connection.caught_up("1")
        eventually(self.replica.is_known)
        self.assertEqual(self.follower._caught_up_at, clock())
        connection.heartbeat("1")
        connection.end()
        self.fake.next_stream()

    def test_a_refusal_that_asks_for_no_pause_is_not_repeated_without_one(self):
        delays = [self.follower._delay_after(stream.Refused(503, 0)) for _ in range(3)]
        self.assertEqual(delays, [0.1, 0.2, 0.4])
        self.assertEqual(self.follower._delay_after(stream.Refused(503, 7)), 7)

    def test_delays_grow_to_two_seconds_and_not_beyond(self):
        delays = [self.follower._delay_after(OSError()) for _ in range(20)]
        self.assertEqual(delays[:3], [0.1, 0.2, 0.4])
        self.assertEqual(delays[-1], 2)
