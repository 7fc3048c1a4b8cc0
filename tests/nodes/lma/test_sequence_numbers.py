import random

from nodes.lma.sequence_numbers import SequenceNumbers


def test_numbers_count_on_and_wrap_around() -> None:
    numbers = SequenceNumbers(random.Random(1))
    first = numbers.allocate(())
    assert first == SequenceNumbers(random.Random(1)).allocate(())
    following = [numbers.allocate(()) for _ in range(0x10000)]
    assert following[0] == (first + 1) % 0x10000
    assert following[-1] == first
    assert set(following) == set(range(0x10000))


def test_an_outstanding_number_is_not_given_again_rfc7077_4_1_rfc5846_5_1() -> None:
    first = SequenceNumbers(random.Random(1)).allocate(())
    taken = {(first + step) % 0x10000 for step in (0, 1, 2, 4)}
    numbers = SequenceNumbers(random.Random(1))
    assert [numbers.allocate(taken) - first for _ in range(2)] == [3, 5]
