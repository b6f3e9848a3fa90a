"""The numbers as the scripts get them."""

from penstock_worker.routing.policy import BreakerPolicy, Policy, TargetLimits


def test_times_are_in_ms() -> None:
    """Seconds of the settings, milliseconds of the scripts; other numbers as they are."""
    text = Policy(BreakerPolicy(window_s=12.0, probes=2, failure_ratio=0.25)).lua()
    assert "window = 12000.0" in text
    assert "bucket = 2000.0" in text
    assert "probes = 2," in text
    assert "failure_ratio = 0.25" in text
    assert "enabled = true" in text
    assert "max_open = 60000.0" in text


def test_a_limit_that_is_not_set_is_not_there() -> None:
    """None is no limit, not zero."""
    text = Policy(limits={"openai": TargetLimits(max_in_flight=4), "free": TargetLimits()}).lua()
    assert text.count("max_in_flight = 4") == 1
    assert "requests_per_min" not in text
    assert text.count("] = {") == 1


def test_a_provider_may_be_called_anything() -> None:
    """Its name is data in the script, never code."""
    text = Policy(limits={'"] = {} os.exit() --\n': TargetLimits(max_in_flight=1)}).lua()
    assert "os.exit" not in text
    assert len(text.splitlines()) == 2
