"""Description of the per-person leak list."""

from __future__ import annotations

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, SubmetricSpec
from haplobench_privacy.specs.common import NUMBA, DistanceParams

_VOVK = (
    "Vovk, V., Gammerman, A. & Shafer, G. Algorithmic learning in a random world. Springer (2005)"
)
_BENJAMINI = (
    "Benjamini, Y. & Hochberg, Y. Controlling the false discovery rate. Journal of the Royal "
    "Statistical Society B 57, 289-300 (1995)"
)
_BATES = (
    "Bates, S. et al. Testing for outliers with conformal p-values. "
    "Annals of Statistics 51, 149-178 (2023)"
)


class LeakListParams(DistanceParams):
    """Parameters of the leak list.

    `false_discoveries`: share of the people flagged who may be flagged wrongly.
    """

    false_discoveries: float = Field(default=0.05, gt=0, lt=1)


LEAK_LIST = MetricSpec(
    name="leak-list",
    version="1",
    target="haplobench_privacy.leak_list:LeakList",
    summary=(
        "Which training people the synthetic cohort gives away, by the strongest of four kinds of "
        "evidence; 0 is none. The list with their names is the table `people` of this metric's "
        "series in the run folder, and nowhere else: whoever shares that folder shares the names."
    ),
    family="privacy",
    params=LeakListParams,
    needs=(NUMBA,),
    floor="holdout",
    cohort="train",
    citations=(_VOVK, _BENJAMINI, _BATES),
    figures=(
        FigureSpec(
            name="leak-list",
            title="Strongest evidence by person",
            caption=(
                "Training people from the most to the least exposed: the strongest of four kinds "
                "of evidence, in robust standard deviations from the held-out people's median; "
                "grey: held-out people themselves. Dots: people flagged."
            ),
            target="haplobench_privacy.people_figure:draw_leak_list",
        ),
    ),
    submetrics=(
        SubmetricSpec(
            name="flagged",
            title="People flagged",
            definition=(
                "Training people whose strongest evidence (nearest distance, longest copied tract, "
                "frequency likelihood ratio, KING-robust kinship, each in robust standard "
                "deviations) is beyond held-out people's, at a false discovery rate of 5 %: "
                "full-conformal p-values, adjusted after Benjamini and Hochberg."
            ),
            unit="people",
            direction="lower",
            min_effect=1.0,
            headline=True,
        ),
        SubmetricSpec(
            name="flagged_share",
            title="Share of people flagged",
            definition="The same over the number of training people.",
            direction="lower",
            min_effect=0.01,
        ),
        SubmetricSpec(
            name="fewest_flagged",
            title="Fewest that can be flagged",
            definition=(
                "So many exposed people it takes for any to be flagged: a p-value can't be under "
                "1 / (held-out people + 1). Fewer may be exposed unseen."
            ),
            unit="people",
            direction="info",
        ),
        SubmetricSpec(
            name="least_q",
            title="Least adjusted p-value",
            definition="Of the most exposed person.",
            direction="info",
        ),
    ),
)

SPECS = (LEAK_LIST,)
