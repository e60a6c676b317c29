import unittest

from keyturn_django import revocations
from keyturn_django.revocations import Revocations, Status

from .support import Clock


class TheReplica(unittest.TestCase):
    def setUp(self):
        self.wall, self.clock = Clock(1_000_000), Clock(50)
        self.replica = Revocations(30, self.wall, self.clock)

    def confirm(self, **changes):
        self.replica.confirm(Status(**{"epoch": 1, "lost_before": None, "window": 360, "age": 0, **changes}))

    def step(self, seconds):
        self.wall.now += seconds
        self.clock.now += seconds

    def test_it_knows_nothing_before_it_is_confirmed_nor_after_30_silent_seconds(self):
        self.assertFalse(self.replica.is_known())
        self.confirm()
        self.assertTrue(self.replica.is_known())
        self.step(30)
        self.assertTrue(self.replica.is_known())
        self.step(0.1)
        self.assertFalse(self.replica.is_known())
        self.confirm()
        self.assertTrue(self.replica.is_known())

    def test_the_age_of_the_workers_own_list_counts(self):
        self.confirm(age=29)
        self.assertTrue(self.replica.is_known())
        self.step(1.5)
        self.assertFalse(self.replica.is_known())

    def test_a_clock_that_is_set_makes_nothing_fresh_or_stale(self):
        self.confirm()
        self.wall.now += 3600
        self.assertTrue(self.replica.is_known())
        self.clock.now += 31
        self.wall.now -= 7200
        self.assertFalse(self.replica.is_known())

    def test_sessions_and_tokens_are_two_namespaces(self):
        self.replica.add([{"sid": "a", "until": 1_000_300}, {"jti": "b", "until": 1_000_300}])
        self.assertTrue(self.replica.has({"sid": "a", "jti": "x"}))
        self.assertTrue(self.replica.has({"sid": "x", "jti": "b"}))
        self.assertFalse(self.replica.has({"sid": "b", "jti": "a"}))
        self.assertFalse(self.replica.has({"sid": None, "jti": "a"}))

    def test_an_entry_is_forgotten_when_its_time_has_passed_by_both_clocks(self):
        self.replica.add([{"sid": "a", "until": 1_000_360}])
        self.wall.now += 400
        self.confirm()
        self.assertTrue(self.replica.has({"sid": "a"}), "the wall clock was set forward")
        self.wall.now -= 800
        self.clock.now += 400
        self.confirm()
        self.assertTrue(self.replica.has({"sid": "a"}), "the wall clock was set back")
        self.wall.now += 800
        self.confirm()
        self.assertFalse(self.replica.has({"sid": "a"}))
        self.assertEqual(len(self.replica), 0)

    def test_an_entry_that_comes_again_is_kept_for_longer(self):
        self.replica.add([{"sid": "a", "until": 1_000_360}])
        self.step(300)
        self.replica.add([{"sid": "a", "until": 1_000_660}])
        self.step(100)
        self.confirm()
        self.assertTrue(self.replica.has({"sid": "a"}))
        self.step(300)
        self.confirm()
        self.assertEqual(len(self.replica), 0)

    def test_after_a_loss_of_the_list_older_tokens_of_keyturn_are_refused(self):
        self.confirm(lost_before=999_999)
        self.assertTrue(self.replica.has({"sid": "a", "iat": 999_998}))
        self.assertTrue(self.replica.has({"client_id": "shop", "iat": 999_998}))
        self.assertFalse(self.replica.has({"sid": "a", "iat": 999_999}))
        self.assertFalse(self.replica.has({"iat": 999_998}), "not Keyturn's")
        self.confirm()
        self.assertFalse(self.replica.has({"sid": "a", "iat": 999_998}), "the newest status counts")

    def test_more_entries_than_it_holds_are_not_known(self):
        most = revocations.MAX_ENTRIES
        self.addCleanup(setattr, revocations, "MAX_ENTRIES", most)
        revocations.MAX_ENTRIES = 2
        self.replica.add([{"sid": name, "until": 1_000_360} for name in "ab"])
        self.confirm()
        self.assertTrue(self.replica.is_known())
        self.replica.add([{"sid": "c", "until": 1_000_360}])
        self.assertFalse(self.replica.is_known())
