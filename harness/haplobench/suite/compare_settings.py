"""What a suite says about comparing its runs: what is gated, and from which size on."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from haplobench.results.records import current_name


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CompareRule(_Strict):
    """Overrides what a metric's spec says, for one metric or one number of it.

    `min_effect`: differences up to this are unchanged; for family `performance` a ratio less
    one (0.2: 20 % slower). `direction`: which way is better. `ignore`: never gated.
    """

    metric: str
    submetric: str | None = None
    generator: str | None = None
    min_effect: float | None = Field(default=None, ge=0)
    direction: Literal["lower", "higher", "closer", "info"] | None = None
    ignore: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _current_name(cls, rule: Any) -> Any:
        if isinstance(rule, dict) and isinstance(rule.get("submetric"), str):
            name = current_name(str(rule.get("metric")), rule["submetric"])
            return {**rule, "submetric": name}
        return rule

    @model_validator(mode="after")
    def _says_something(self) -> CompareRule:
        if self.min_effect is None and self.direction is None and self.ignore is None:
            raise ValueError("expected one of min_effect, direction, ignore")
        return self

    def fits(self, generator: str, metric: str, submetric: str) -> bool:
        """Whether it speaks of this number."""
        return (
            self.metric == metric
            and self.submetric in (None, submetric)
            and self.generator in (None, generator)
        )


class CompareSettings(_Strict):
    """How runs of a suite are compared.

    `gate`: metric families whose regressions fail a comparison. `controls`: whether those of
    controls do. `labelled`: whether values by label (MAF bin, superpopulation) do, beside the
    unlabelled. `alpha`: level of the multiple-testing control. `slower`: for family
    `performance`, medians are called changed from this ratio on (0.15: 15 %). `rules`: a later
    one overrides an earlier.
    """

    gate: list[str] = Field(default=["fidelity", "privacy", "utility", "performance"])
    controls: bool = False
    labelled: bool = True
    alpha: float = Field(default=0.02, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    slower: float = Field(default=0.15, ge=0)
    rules: list[CompareRule] = Field(default_factory=list)


def load_settings(suite: str) -> CompareSettings:
    """The section `compare` of a suite file, or of the shipped suite of that name.

    Raises SuiteError, naming file and key, if it doesn't validate.
    """
    from haplobench.errors import SuiteError
    from haplobench.suite.load import find_suite
    from haplobench.suite.source import read_marked, structural_problems

    path, name = find_suite(suite)
    tree = read_marked(path, name)
    section = tree.root.get("compare") or {}
    problems = [*tree.problems]
    if not isinstance(section, dict):
        problems.append(tree.problem(("compare",), "expected keys, see CompareSettings"))
    else:
        found = structural_problems(section, CompareSettings)
        problems += [tree.problem(("compare", *key), message) for key, message in found]
    if problems:
        raise SuiteError(problems)
    return CompareSettings.model_validate(section)
