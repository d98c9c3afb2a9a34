"""How often one may do something: in memory, in Redis, and while Redis is away."""

from __future__ import annotations

import pytest

from gauntlet.rates import LIMITS, CountedRates, network_of
from store.errors import RateLimited
from store.rates import Counted


def spend_until_refused(rates: CountedRates, *whose: str) -> int:
    number = 0
    try:
        while number < 100:
            rates.spend(Counted.SIGN_IN, *whose)
            number += 1
    except RateLimited as error:
        if not 1 <= error.retry_after_s <= 3600:
            raise
    return number


def test_everything_that_is_counted_has_a_limit() -> None:
    assert set(LIMITS) == set(Counted)


def test_each_is_counted_apart() -> None:
    rates = CountedRates()
    assert spend_until_refused(rates, "192.0.2.1", "name jane") == 10
    assert spend_until_refused(rates, "192.0.2.2", "name jane") == 0
    assert spend_until_refused(rates, "192.0.2.3", "name john") == 10
    rates.spend(Counted.REGISTER, "192.0.2.1")
    for _ in range(20):
        rates.spend(Counted.SIGN_IN, "")


def test_processes_share_the_counts_in_redis(redis_url: str) -> None:
    assert spend_until_refused(CountedRates(redis_url), "192.0.2.1") == 10
    assert spend_until_refused(CountedRates(redis_url), "192.0.2.1") == 0


def test_without_redis_each_process_counts_alone(caplog: pytest.LogCaptureFixture) -> None:
    rates = CountedRates("redis://:a-password-of-redis@127.0.0.1:1/0")
    assert spend_until_refused(rates, "192.0.2.1") == 10
    assert "counts alone" in caplog.text
    assert "a-password-of-redis" not in caplog.text


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("name jane", "name jane"),
    ],
)
def test_an_ipv6_address_counts_as_its_network(text: str, counted: str) -> None:
    assert network_of(text) == counted
