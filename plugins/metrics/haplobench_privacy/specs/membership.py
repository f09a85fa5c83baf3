"""Descriptions of the membership inference attacks."""

from __future__ import annotations

from pydantic import Field

from haplobench import FigureSpec, MetricSpec, SubmetricSpec
from haplobench_privacy.specs.common import NUMBA, DistanceParams

_CHEN = (
    "Chen, D., Yu, N., Zhang, Y. & Fritz, M. GAN-Leaks: a taxonomy of membership inference "
    "attacks against generative models. CCS (2020)"
)
_DELONG = (
    "DeLong, E. R., DeLong, D. M. & Clarke-Pearson, D. L. Comparing the areas under two or more "
    "correlated receiver operating characteristic curves. Biometrics 44, 837-845 (1988)"
)
_CARLINI = (
    "Carlini, N. et al. Membership inference attacks from first principles. "
    "IEEE Symposium on Security and Privacy (2022)"
)


class MembershipParams(DistanceParams):
    """Parameters of the membership inference attack.

    `bootstraps`: resamples of people behind the standard error of the true positive rate.
    """

    bootstraps: int = Field(default=200, ge=2)


MEMBERSHIP_INFERENCE = MetricSpec(
    name="membership-inference",
    version="1",
    target="haplobench_privacy.membership:MembershipInference",
    summary=(
        "Whether an attacker who holds the synthetic cohort and a person's genome can tell that "
        "the person was trained on, by the distance to the nearest synthetic haplotype. 0.5 is "
        "guessing; the cohort's size bounds how many training people it can give away."
    ),
    family="privacy",
    params=MembershipParams,
    needs=(NUMBA,),
    floor="holdout",
    citations=(_CHEN, _DELONG, _CARLINI),
    submetrics=(
        SubmetricSpec(
            name="auc",
            title="Membership inference AUC",
            definition=(
                "Probability that a training person scores above a held-out one (ties 1/2); the "
                "score is minus the mean, over the person's haplotypes, of log(1 + d), d the "
                "Hamming distance to the nearest synthetic haplotype: one copied haplotype "
                "stands out, two more so. Standard error after DeLong."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.02,
            headline=True,
        ),
        SubmetricSpec(
            name="tpr_at_low_fpr",
            title="TPR at 1 % FPR",
            definition=(
                "Share of training people found where 1 % of held-out people are called members "
                "(ROC interpolated between tied scores). Standard error by bootstrap over people."
            ),
            direction="closer",
            ideal=0.01,
            min_effect=0.01,
            headline=True,
        ),
        SubmetricSpec(
            name="auc_nearest_haplotype",
            title="AUC by nearer haplotype",
            definition="AUC where a person's score is minus the least d of their haplotypes.",
            direction="info",
        ),
        SubmetricSpec(
            name="advantage",
            title="Attacker's advantage",
            definition="Largest difference between true and false positive rate over all "
            "thresholds (above 0 by chance too: see the floor).",
            direction="info",
        ),
    ),
)

SPECS = (MEMBERSHIP_INFERENCE,)
