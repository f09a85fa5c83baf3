"""What the conformance checks find: passed checks, and failures that are raised together."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from haplobench.errors import BenchError


@dataclass(frozen=True)
class Failure:
    """A check that failed: what was expected, what was found, and why it matters."""

    check: str
    expected: str
    found: str
    why: str

    def __str__(self) -> str:
        return f"{self.check}: expected {self.expected}; found {self.found}. {self.why}"


class ConformanceError(BenchError, AssertionError):
    """A plugin breaks its contract; `failures` holds every failure found, `passed` the rest."""

    def __init__(
        self, subject: str, failures: tuple[Failure, ...], passed: tuple[str, ...] = ()
    ) -> None:
        lines = "".join(f"\n  - {failure}" for failure in failures)
        noun = "place" if len(failures) == 1 else "places"
        super().__init__(f"{subject} breaks its contract in {len(failures)} {noun}:{lines}")
        self.failures = failures
        self.passed = passed


class HaltError(Exception):
    """Ends a check early: what follows needs what just failed."""


@dataclass
class Findings:
    """Collects outcomes by check name; a check failed once counts as failed."""

    subject: str
    outcomes: dict[str, Failure | None] = field(default_factory=dict)

    def expect(self, ok: bool, check: str, expected: str, found: str, why: str) -> bool:
        """Note whether `ok`; returns it."""
        if not ok:
            if self.outcomes.get(check) is None:
                self.outcomes[check] = Failure(check, expected, found, why)
        else:
            self.outcomes.setdefault(check, None)
        return ok

    @contextmanager
    def attempt(
        self, check: str, expected: str, why: str, *, vital: bool = False
    ) -> Iterator[None]:
        """Note an exception as a failure of `check`; where `vital`, HaltError follows."""
        try:
            yield
        except HaltError:
            raise
        except Exception as error:
            self.expect(False, check, expected, _describe(error), why)
            if vital:
                raise HaltError from None
        else:
            self.outcomes.setdefault(check, None)

    def conclude(self) -> tuple[str, ...]:
        """Names of the checks passed; raises ConformanceError if any failed."""
        failures = tuple(failure for failure in self.outcomes.values() if failure is not None)
        if failures:
            passed = tuple(check for check, failure in self.outcomes.items() if failure is None)
            raise ConformanceError(self.subject, failures, passed)
        return tuple(self.outcomes)


def _describe(error: Exception) -> str:
    """Type, message and innermost place of an exception, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}{place}"
