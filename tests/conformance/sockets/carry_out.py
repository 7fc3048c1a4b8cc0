"""Runs the socket-level tests against a node: no pytest, so that it can be done in a guest."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.conformance.catalogue import rule_of
from tests.conformance.report import FAIL, PASS, SKIP, Result, Results
from tests.conformance.sockets import lma_tests, lma_tunnel_tests, mag_tests, node_tests
from tests.conformance.sockets.nodes_under_test import LmaUnderTest, MagUnderTest
from tests.conformance.sockets.outcome import Lacking, Violation

Say = Callable[[str], None]


def tests_of(module: ModuleType) -> dict[str, Callable[[Any], None]]:
    """The test functions by rule, in the order of the file."""
    found = {}
    for name, function in vars(module).items():
        if name.startswith("test_") and (rule := rule_of(name)) is not None:
            found[rule] = function
    return found


def carry_out(node: LmaUnderTest | MagUnderTest, say: Say) -> Results:
    """All tests that there are for this kind of node."""
    own = (lma_tests, lma_tunnel_tests) if isinstance(node, LmaUnderTest) else (mag_tests,)
    results: Results = {}
    for module in (node_tests, *own):
        for rule, test in tests_of(module).items():
            results[rule] = _result(test, node)
            say(f"{results[rule].verdict:<8} {test.__name__} {results[rule].note}".rstrip())
    return results


def _result(test: Callable[[Any], None], node: LmaUnderTest | MagUnderTest) -> Result:
    try:
        test(node)
    except Violation as violation:
        return Result(FAIL, str(violation))
    except Lacking as lacking:
        return Result(SKIP, str(lacking))
    except Exception as error:  # what the node sent is at fault, or the way there
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Result(FAIL, f"{type(error).__name__}: {error} ({where.name})")
    finally:
        node.clean()
    return Result(PASS)


def merge(*several: tuple[str, Results]) -> Results:
    """Results of several nodes, each with its name: one that fails makes the rule fail."""
    merged: Results = {}
    for name, results in several:
        for rule, result in results.items():
            noted = Result(result.verdict, f"{name}: {result.note}" if result.note else "")
            before = merged.get(rule)
            order = (FAIL, PASS, SKIP)
            if before is None or order.index(result.verdict) < order.index(before.verdict):
                merged[rule] = noted
    return merged
