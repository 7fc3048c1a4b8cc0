import io

from experiments.engines.kernel_progress import Progress, minutes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_log_gets_a_line_every_fifteen_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress("compiling", 1000, 240, stream, clock)
    for second in range(1, 31):
        clock.now = 100.0 + second
        progress.update(second * 10)
    clock.now = 200.0
    progress.finish()
    assert stream.getvalue().splitlines() == [
        "  compiling:  15%, 0:15 gone, about 1:25 left",
        "  compiling:  30%, 0:30 gone, about 1:10 left",
        "  compiling: done in 1:40",
    ]


def test_terminal_gets_one_changing_line() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress("compiling", 100, 240, stream, clock)
    for second in (1, 2):
        clock.now = 100.0 + second
        progress.update(second * 10)
    progress.finish()
    assert stream.getvalue().count("\r\x1b[K") == 3
    assert stream.getvalue().count("\n") == 1


def test_first_guess_is_shown_until_the_work_tells() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress("compiling", 1000, 240, stream, clock)
    clock.now = 120.0
    progress.update(10)
    assert "about 3:40 left" in stream.getvalue()


def test_more_than_expected_is_never_all() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress("compiling", 100, 240, stream, clock)
    clock.now = 300.0
    progress.update(150)
    assert " 99%" in stream.getvalue()


def test_minutes() -> None:
    assert [minutes(seconds) for seconds in (0, 59.6, 61, 600)] == ["0:00", "1:00", "1:01", "10:00"]
