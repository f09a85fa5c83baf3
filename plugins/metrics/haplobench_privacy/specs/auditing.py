"""Descriptions of the claimed privacy and of its audit."""

from __future__ import annotations

from pydantic import Field

from haplobench import MetricSpec, Params, SubmetricSpec
from haplobench_privacy.specs.common import NUMBA, SCIPY, DistanceParams

_DWORK = (
    "Dwork, C. & Roth, A. The algorithmic foundations of differential privacy. Foundations and "
    "Trends in Theoretical Computer Science 9, 211-407 (2014)"
)
_STEINKE = (
    "Steinke, T., Nasr, M. & Jagielski, M. Privacy auditing with one (1) training run. "
    "NeurIPS (2023)"
)


class AuditParams(DistanceParams):
    """Parameters of the audit.

    `confidence`: of the lower bound, over all tests together. `delta`: where the generator
    claims none. `guesses`: shares of the pairs guessed, widest margin first; each is a test.
    """

    confidence: float = Field(default=0.95, gt=0, lt=1)
    delta: float = Field(default=1e-5, ge=0, lt=1)
    guesses: tuple[float, ...] = Field(default=(1.0, 0.25), min_length=1)


AUDIT = MetricSpec(
    name="audit",
    version="2",
    target="haplobench_privacy.audit:Audit",
    summary=(
        "A lower bound on ε from attacks on this one run: no (ε, δ)-differentially private "
        "generator with a smaller ε would give its people away so often. A claim below the bound "
        "is false; a bound of 0 says that these attacks found nothing, not that there is nothing."
    ),
    family="privacy",
    params=AuditParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    cohort="train",
    citations=(_STEINKE,),
    submetrics=(
        SubmetricSpec(
            name="epsilon_lower",
            title="Audited ε",
            definition=(
                "Largest ε that right guesses of who of a pair (one training, one held-out person "
                "of a population; the split's fair coin) was trained on refute with 95 % "
                "confidence over all scores and numbers of guesses tried (Bonferroni): theorem 5.2 "
                "of Steinke et al.; for adding or removing a person, of which an exchange is two."
            ),
            direction="lower",
            min_effect=0.1,
            headline=True,
        ),
        SubmetricSpec(
            name="epsilon_ceiling",
            title="Largest ε that can be audited",
            definition="What it would be with every guess right: grows with the held-out people.",
            direction="info",
        ),
        SubmetricSpec(
            name="right_guesses",
            title="Right guesses",
            definition="Share of right guesses in the test that gave the bound (in the first if "
            "none did).",
            direction="info",
        ),
        SubmetricSpec(name="pairs", title="Pairs", definition="Coins guessed.", direction="info"),
        SubmetricSpec(
            name="claimed_epsilon",
            title="Claimed ε",
            definition="The ε that the generator claims; none where its noise can be repeated.",
            direction="info",
        ),
        SubmetricSpec(
            name="claim_refuted",
            title="Claim refuted",
            definition="1 where the audited ε exceeds the claimed one, else 0.",
            direction="lower",
        ),
    ),
)

PRIVACY_STATEMENT = MetricSpec(
    name="privacy-statement",
    version="2",
    target="haplobench_privacy.statement:Statement",
    summary=(
        "The (ε, δ)-differential privacy that the generator claims for each person, with unit, "
        "accountant, sampling and data-dependent choices in the note. Smaller is more private; a "
        "generator that claims none has no bound at all."
    ),
    family="privacy",
    params=Params,
    input="panel",
    site_matched=False,
    phased=False,
    floor="holdout",
    citations=(_DWORK,),
    submetrics=(
        SubmetricSpec(
            name="epsilon",
            title="Claimed ε",
            definition=(
                "Upper bound on the privacy lost by any one record, over all rounds of one fit; "
                "draws from it cost nothing more. None where whoever has the seed can repeat the "
                "noise. What all fits of a run come to stands beside the claims."
            ),
            direction="lower",
            headline=True,
        ),
        SubmetricSpec(
            name="delta",
            title="Claimed δ",
            definition="Probability up to which that bound may not hold.",
            direction="lower",
        ),
        SubmetricSpec(
            name="least_client_epsilon",
            title="Least client ε",
            definition="The smallest ε of any client of a federation; the claimed is the largest.",
            direction="info",
        ),
        SubmetricSpec(
            name="clients",
            title="Clients",
            definition="Clients of the federation.",
            direction="info",
        ),
    ),
)

SPECS = (AUDIT, PRIVACY_STATEMENT)
