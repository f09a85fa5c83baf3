"""Descriptions of the leak list, of the audit and of the claimed privacy."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, Params, SubmetricSpec
from haplobench_privacy.specs.distances import NUMBA, SCIPY, DistanceParams

_lower = partial(SubmetricSpec, direction="lower")
_info = partial(SubmetricSpec, direction="info")

_VOVK = (
    "Vovk, V., Gammerman, A. & Shafer, G. Algorithmic learning in a random world. Springer (2005)"
)
_BENJAMINI = (
    "Benjamini, Y. & Hochberg, Y. Controlling the false discovery rate. Journal of the Royal "
    "Statistical Society B 57, 289-300 (1995)"
)
_BATES = (
    "Bates, S. et al. Testing for outliers with conformal p-values. Annals of Statistics 51, "
    "149-178 (2023)"
)
_DWORK = (
    "Dwork, C. & Roth, A. The algorithmic foundations of differential privacy. Foundations and "
    "Trends in Theoretical Computer Science 9, 211-407 (2014)"
)
_STEINKE = (
    "Steinke, T., Nasr, M. & Jagielski, M. Privacy auditing with one (1) training run. NeurIPS "
    "(2023)"
)


class LeakListParams(DistanceParams):
    """Parameters of the leak list.

    `false_discoveries`: share of the people flagged who may be flagged wrongly.
    """

    false_discoveries: float = Field(default=0.05, gt=0, lt=1)


LEAK_LIST = MetricSpec(
    name="leak-list",
    version="1",
    target="haplobench_privacy.leak_list:leak_list",
    summary=(
        "Which training people the synthetic cohort gives away, by the strongest of four kinds of "
        "evidence; 0 is none. The list with their names is the table `people` of this metric's "
        "series in the run folder, and nowhere else: whoever shares that folder shares the names."
    ),
    family="privacy",
    params=LeakListParams,
    needs=(NUMBA, SCIPY),
    floor="holdout",
    cohort="train",
    citations=(_VOVK, _BENJAMINI, _BATES),
    figures=(
        FigureSpec(
            "leak-list",
            "Strongest evidence by person",
            "Training people from the most to the least exposed: the strongest of four kinds of "
            "evidence, in robust standard deviations from the held-out people's median; grey: "
            "held-out people themselves. Dots: people flagged.",
            "haplobench_privacy.figures:draw_leak_list",
        ),
    ),
    submetrics=(
        _lower(
            "flagged",
            "People flagged",
            "Training people whose strongest evidence (nearest distance, longest copied tract, "
            "frequency likelihood ratio, KING-robust kinship, each in robust standard deviations) "
            "is beyond held-out people's, at a false discovery rate of 5 %: full-conformal "
            "p-values, adjusted after Benjamini and Hochberg.",
            unit="people",
            min_effect=1.0,
            headline=True,
        ),
        _lower(
            "flagged_share",
            "Share of people flagged",
            "The same over the number of training people.",
            min_effect=0.01,
        ),
        _info(
            "fewest_flagged",
            "Fewest that can be flagged",
            "So many exposed people it takes for any to be flagged: a p-value can't be under 1 / "
            "(held-out people + 1). Fewer may be exposed unseen.",
            unit="people",
        ),
        _info("least_q", "Least adjusted p-value", "Of the most exposed person."),
    ),
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
    target="haplobench_privacy.audit:audit",
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
        _lower(
            "epsilon_lower",
            "Audited ε",
            "Largest ε that right guesses of who of a pair (one training, one held-out person of "
            "a population; the split's fair coin) was trained on refute with 95 % confidence over "
            "all scores and numbers of guesses tried (Bonferroni): theorem 5.2 of Steinke et al.; "
            "for adding or removing a person, of which an exchange is two.",
            min_effect=0.1,
            headline=True,
        ),
        _info(
            "epsilon_ceiling",
            "Largest ε that can be audited",
            "What it would be with every guess right: grows with the held-out people.",
        ),
        _info(
            "right_guesses",
            "Right guesses",
            "Share of right guesses in the test that gave the bound (in the first if none did).",
        ),
        _info("pairs", "Pairs", "Coins guessed."),
        _info(
            "claimed_epsilon",
            "Claimed ε",
            "The ε that the generator claims; none where its noise can be repeated.",
        ),
        _lower(
            "claim_refuted",
            "Claim refuted",
            "1 where the audited ε exceeds the claimed one, else 0.",
        ),
    ),
)

PRIVACY_STATEMENT = MetricSpec(
    name="privacy-statement",
    version="2",
    target="haplobench_privacy.statement:statement",
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
        _lower(
            "epsilon",
            "Claimed ε",
            "Upper bound on the privacy lost by any one record, over all rounds of one fit; draws "
            "from it cost nothing more. None where whoever has the seed can repeat the noise. "
            "What all fits of a run come to stands beside the claims.",
            headline=True,
        ),
        _lower("delta", "Claimed δ", "Probability up to which that bound may not hold."),
        _info(
            "least_client_epsilon",
            "Least client ε",
            "The smallest ε of any client of a federation; the claimed is the largest.",
        ),
        _info("clients", "Clients", "Clients of the federation."),
    ),
)

SPECS = (LEAK_LIST, AUDIT, PRIVACY_STATEMENT)
