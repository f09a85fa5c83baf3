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
_HOMER = (
    "Homer, N. et al. Resolving individuals contributing trace amounts of DNA to highly complex "
    "mixtures using high-density SNP genotyping microarrays. PLoS Genetics 4, e1000167 (2008)"
)
_SANKARARAMAN = (
    "Sankararaman, S., Obozinski, G., Jordan, M. I. & Halperin, E. Genomic privacy and limits of "
    "individual detection in a pool. Nature Genetics 41, 965-967 (2009)"
)
_OBUCHOWSKI = (
    "Obuchowski, N. A. Nonparametric analysis of clustered ROC curve data. "
    "Biometrics 53, 567-578 (1997)"
)


class MembershipParams(DistanceParams):
    """Parameters of the membership inference attacks.

    `bootstraps`: resamples of people behind the interval of the true positive rate.
    """

    bootstraps: int = Field(default=200, ge=2)


class LikelihoodParams(MembershipParams):
    """Parameters of the attack by allele frequencies.

    `folds`: parts into which everybody is shared out; people of one are scored against the
    held-out people of the others. `max_r2`: greatest r² between sites taken as independent.
    """

    folds: int = Field(default=5, ge=2)
    max_r2: float = Field(default=0.1, gt=0, le=1)


def _roc_figure(name: str) -> FigureSpec:
    return FigureSpec(
        name=f"{name}-roc",
        title="ROC of the attack",
        caption=(
            "True against false positive rate, both on a log scale, the mean over seeds; grey: "
            "the range over held-out people taken as the synthetic cohort. Only what is above "
            "the grey band on the left, where few people are accused wrongly, is a working attack."
        ),
        target="haplobench_privacy.roc_figure:draw_roc",
    )


def _common(kind: str, score: str) -> tuple[SubmetricSpec, ...]:
    """What every attack reports: `kind` for titles, `score` what it scores people by, in words."""
    return (
        SubmetricSpec(
            name="auc",
            title=f"AUC ({kind})",
            definition=(
                f"Probability that a training person scores above a held-out one (ties 1/2); "
                f"{score} Standard error after DeLong."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.02,
            headline=True,
        ),
        SubmetricSpec(
            name="auc_low",
            title=f"AUC ({kind}), lower bound",
            definition=(
                "Lower end of the AUC's 95 % interval, normal on the logit scale (Clopper-Pearson "
                "where the AUC is 0 or 1)."
            ),
            direction="info",
        ),
        SubmetricSpec(
            name="auc_high",
            title=f"AUC ({kind}), upper bound",
            definition="Upper end of the same interval.",
            direction="info",
        ),
        SubmetricSpec(
            name="tpr_at_low_fpr",
            title=f"TPR at 1 % FPR ({kind})",
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
            name="tpr_low",
            title=f"TPR at 1 % FPR ({kind}), lower bound",
            definition="2.5th percentile of the same bootstrap.",
            direction="info",
        ),
        SubmetricSpec(
            name="tpr_high",
            title=f"TPR at 1 % FPR ({kind}), upper bound",
            definition="97.5th percentile of the same bootstrap.",
            direction="info",
        ),
        SubmetricSpec(
            name="advantage",
            title=f"Attacker's advantage ({kind})",
            definition="Largest difference between true and false positive rate over all "
            "thresholds (above 0 by chance too: see the floor).",
            direction="info",
        ),
    )


MEMBERSHIP_INFERENCE = MetricSpec(
    name="membership-inference",
    version="2",
    target="haplobench_privacy.membership:MembershipInference",
    summary=(
        "Whether an attacker who holds a synthetic cohort of the training panel's size and a "
        "person's genome can tell that the person was trained on, by the distance to the nearest "
        "synthetic haplotype. 0.5 is guessing."
    ),
    family="privacy",
    params=MembershipParams,
    needs=(NUMBA,),
    floor="holdout",
    cohort="train",
    citations=(_CHEN, _DELONG, _CARLINI),
    figures=(_roc_figure("distance"),),
    submetrics=(
        *_common(
            "distance",
            "the score is minus the mean, over the person's haplotypes, of log(1 + d), d the "
            "Hamming distance to the nearest synthetic haplotype; equal scores are told apart by "
            "the distance of genotypes to the nearest synthetic person.",
        ),
        SubmetricSpec(
            name="auc_nearest_haplotype",
            title="AUC by nearer haplotype",
            definition="AUC where a person's score is minus the least d of their haplotypes.",
            direction="info",
        ),
    ),
)

MEMBERSHIP_LIKELIHOOD = MetricSpec(
    name="membership-likelihood",
    version="1",
    target="haplobench_privacy.likelihood_attack:LikelihoodAttack",
    summary=(
        "Whether allele frequencies of the synthetic cohort give training people away, as those "
        "of a pool of DNA do. 0.5 is guessing; intervals leave out the error of the reference, "
        "which held-out people make up and which the floor's spread shows."
    ),
    family="privacy",
    params=LikelihoodParams,
    needs=(NUMBA,),
    floor="holdout",
    cohort="train",
    citations=(_HOMER, _SANKARARAMAN, _DELONG, _OBUCHOWSKI),
    figures=(_roc_figure("likelihood"),),
    submetrics=(
        *_common(
            "frequencies",
            "the score is the sum over sites in linkage equilibrium (r² of at most 0.1) and both "
            "haplotypes of x log(p/q) + (1 - x) log((1 - p)/(1 - q)), p the synthetic frequency, q "
            "that of held-out people of other folds, minus the population's mean score, so that "
            "ancestry isn't mistaken for membership.",
        ),
        SubmetricSpec(
            name="auc_candidates",
            title="AUC, all candidates known",
            definition=(
                "The same with q the frequency among all real people together: an attacker who "
                "knows every candidate, and not which of them were trained on. The strongest of "
                "these attacks: exact frequencies of a small panel give its people away."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.02,
        ),
        SubmetricSpec(
            name="auc_all_sites",
            title="AUC, all sites",
            definition=(
                "The AUC at all sites, linked ones taken as independent, which weighs long "
                "haplotypes by their length."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.02,
        ),
        SubmetricSpec(
            name="auc_homer",
            title="AUC, Homer's statistic",
            definition=(
                "The AUC at all sites by T = mean(D) / (sd(D) / sqrt(sites)), D = |y - q| - "
                "|y - p|, y the person's own frequency (0, 1/2, 1) at a site."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.02,
        ),
        SubmetricSpec(
            name="auc_haplotype",
            title="AUC, single haplotypes",
            definition=(
                "The AUC of the likelihood ratio where single haplotypes are attacked; standard "
                "error over people, whose haplotypes aren't independent (Obuchowski 1997)."
            ),
            direction="closer",
            ideal=0.5,
            min_effect=0.02,
        ),
        SubmetricSpec(
            name="auc_uncentred",
            title="AUC, ancestry left in",
            definition="The AUC without subtracting each population's mean.",
            direction="info",
        ),
        SubmetricSpec(
            name="independent_sites",
            title="Independent sites",
            definition="Sites left after thinning by r².",
            direction="info",
        ),
    ),
)

MEMBERSHIP_SHADOW = MetricSpec(
    name="membership-shadow",
    version="1",
    target="haplobench_privacy.shadow_attack:ShadowAttack",
    summary=(
        "Membership inference by an attacker who can fit the same generator to other people, and "
        "so knows for each person what a cohort looks like with and without them. Needs shadow "
        "fits, for which a suite asks (shadows: 8); 0.5 is guessing."
    ),
    family="privacy",
    params=MembershipParams,
    needs=(NUMBA,),
    floor="holdout",
    cohort="train",
    shadows=True,
    citations=(_CARLINI, _DELONG),
    figures=(_roc_figure("shadow"),),
    submetrics=(
        *_common(
            "shadows",
            "the score is the sum over two features (nearest distance, frequency ratio) of the "
            "log ratio of normal densities with and without the person, means from shadow cohorts "
            "fitted on random halves of all people (each person's own gain shrunk to everybody's), "
            "variances pooled.",
        ),
        SubmetricSpec(
            name="calibrated_tpr",
            title="TPR at the shadows' threshold",
            definition=(
                "Share of training people above the score that 1 % of people exceed in shadow "
                "cohorts they weren't fitted on, each scored by the other shadows."
            ),
            direction="closer",
            ideal=0.01,
            min_effect=0.01,
        ),
        SubmetricSpec(
            name="calibrated_fpr",
            title="FPR at the shadows' threshold",
            definition=(
                "Share of held-out people above that score: 1 % if the threshold carries over."
            ),
            direction="closer",
            ideal=0.01,
            min_effect=0.01,
        ),
    ),
)

SPECS = (MEMBERSHIP_INFERENCE, MEMBERSHIP_LIKELIHOOD, MEMBERSHIP_SHADOW)
