"""Errors name what was found, however long it is."""

from haplobench.errors import BenchError, SuiteError, shortened


def test_a_line_is_as_long_as_can_be_read() -> None:
    error = BenchError(f"a.vcf: found {'A' * 50_000}\nexpected one base", hint="look at it")
    first, second = str(error).split("\n")
    assert first.startswith("a.vcf: found AAA")
    assert "characters left out" in first
    assert len(first) < 2_100
    assert second == "expected one base (look at it)"
    assert len(str(SuiteError(["x" * 9_000, "y"]))) < 2_100


def test_beginning_and_end_of_a_long_text_are_kept() -> None:
    assert shortened("abc", 3) == "abc"
    assert (
        shortened("a" * 60 + "b" * 40, 30) == "a" * 20 + " [… 70 characters left out …] " + "b" * 10
    )
