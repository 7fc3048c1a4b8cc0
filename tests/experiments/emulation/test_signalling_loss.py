import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.declaration.spec import SignallingLoss
from experiments.emulation.signalling_loss import GilbertElliott, generator

MANY = 200_000


def _losses(loss: SignallingLoss, count: int = MANY) -> list[bool]:
    model = GilbertElliott(loss, random.Random(1))
    return [model.lost() for _ in range(count)]


def _mean_burst(losses: list[bool]) -> float:
    bursts = sum(now and not before for before, now in zip([False, *losses], losses, strict=False))
    return sum(losses) / bursts


@pytest.mark.parametrize("probability", [0.05, 0.3])
def test_without_bursts_each_message_is_lost_by_itself(probability: float) -> None:
    losses = _losses(SignallingLoss(probability))
    assert sum(losses) / MANY == pytest.approx(probability, rel=0.03)
    assert _mean_burst(losses) == pytest.approx(1 / (1 - probability), rel=0.03)


@pytest.mark.parametrize("mean_burst", [1.0, 3.0])
def test_gilbert_losses_come_in_bursts_of_the_mean_length(mean_burst: float) -> None:
    losses = _losses(SignallingLoss(0.2, mean_burst))
    assert sum(losses) / MANY == pytest.approx(0.2, rel=0.05)
    assert _mean_burst(losses) == pytest.approx(mean_burst, rel=0.05)


def test_all_and_nothing() -> None:
    assert all(_losses(SignallingLoss(1.0, 2.0), 100))
    assert not any(_losses(SignallingLoss(0.0, 2.0), 100))


def test_bursts_too_short_for_the_loss_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"mean_burst is 1\.0; expected 0\.8 / "):
        msgspec.convert({"probability": 0.8, "mean_burst": 1.0}, SignallingLoss)


def test_seed_and_node_choose_the_losses() -> None:
    first = generator(1, "lma").random()
    assert first == generator(1, "lma").random()
    assert len({first, generator(2, "lma").random(), generator(1, "mag1").random()}) == 3


@given(st.floats(0, 0.99), st.none() | st.floats(1, 100))
def test_transitions_are_probabilities(probability: float, mean_burst: float | None) -> None:
    try:
        loss = SignallingLoss(probability, mean_burst)
    except ValueError:
        return
    to_bad, to_good = loss.transitions()
    assert 0 <= to_bad <= 1
    assert to_good is None or 0 < to_good <= 1
