"""Traits beside haplotypes: effects found and handed on, and each drawn given the other."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats
from sklearn.linear_model import LinearRegression

from haplobench import BenchError, Panel, PanelError, RunContext, SampleRequest
from haplobench.testing.generators import check_generator
from haplobench.testing.panels import example_panel
from haplobench_traits import SPEC, TraitsParams
from haplobench_traits.generator import FittedTraits, WithTraits

N, N_SITES = 1200, 60
EXPRESSED, BOTH, NOISE = range(3)
EFFECTS = {EXPRESSED: {5: 0.8}, BOTH: {20: -0.7, 40: 0.6}, NOISE: {}}
NAMES = ("GENE1", "GENE2", "height")
RESIDUALS = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])


def people(n: int = N, ploidy: int = 2, labelled: bool = True, seed: int = 1) -> Panel:
    """Independent sites; half of the people are of a population with other frequencies."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    frequency = rng.uniform(0.1, 0.9, (2, N_SITES))
    alleles = rng.random((n * ploidy, N_SITES)) < frequency[np.repeat(label, ploidy)]
    return Panel(
        haplotypes=alleles.astype(np.int8),
        positions=1 + 1000 * np.arange(N_SITES),
        contig="1",
        samples=np.array([f"p{i}" for i in range(n)]),
        population=np.array(["YRI", "CEU"])[label] if labelled else np.empty(0, "U1"),
        ploidy=ploidy,
    )


def traits_of(panel: Panel, seed: int = 2) -> np.ndarray[Any, Any]:
    """Traits in their units: `height` has a mean of its population's and no site."""
    noise = np.random.default_rng(seed).multivariate_normal(np.zeros(3), RESIDUALS, panel.n_samples)
    dosage = panel.haplotypes.reshape(panel.n_samples, panel.ploidy, -1).sum(axis=1)
    for trait, effects in EFFECTS.items():
        for site, effect in effects.items():
            noise[:, trait] += effect * dosage[:, site]
    noise[:, NOISE] = 170 + 10 * (noise[:, NOISE] + (panel.population == "CEU"))
    return noise


def table(folder: Path, panel: Panel, values: np.ndarray[Any, Any] | None = None) -> str:
    values = traits_of(panel) if values is None else values
    frame = pd.DataFrame(values, columns=list(NAMES[: values.shape[1]]))
    frame.insert(0, "sample", panel.samples)
    frame.to_csv(folder / "traits.tsv", sep="\t", index=False)
    return str(folder / "traits.tsv")


def context(folder: Path, seed: int = 1) -> RunContext:
    return RunContext(seed=seed, artifacts=folder, scratch=folder, log=logging.getLogger("traits"))


def fitted(folder: Path, panel: Panel, **params: Any) -> FittedTraits:
    params = {"generator": "li-stephens"} | params
    if "table" not in params:
        params["table"] = table(folder, panel)
    return WithTraits().fit(panel, TraitsParams(**params), context(folder))


def sampled(
    model: FittedTraits, folder: Path, n_people: int, **request: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Dosages (n, n_sites), and traits (n, n_traits) as the artifacts tell them."""
    ploidy = model.ploidy
    asked = SampleRequest(n_people * ploidy, **request)
    rows = np.concatenate(list(model.sample(asked, context(folder))))
    told = pd.read_csv(folder / f"traits-{asked.start}.tsv", sep="\t")
    assert list(told.columns) == ["person", *model.names]
    assert told["person"].tolist() == list(range(asked.start // ploidy, len(rows) // ploidy
                                                 + asked.start // ploidy))  # fmt: skip
    return rows.reshape(n_people, ploidy, -1).sum(axis=1), told[list(model.names)].to_numpy()


def test_effects_are_found_and_come_back_in_the_cohort(tmp_path: Path) -> None:
    panel = people()
    model = fitted(tmp_path, panel)
    told = pd.read_csv(tmp_path / "effects.tsv", sep="\t")
    found = {(row.trait, (row.position - 1) // 1000) for row in told.itertuples()}
    assert found == {("GENE1", 5), ("GENE2", 20), ("GENE2", 40)}
    labels = np.repeat(panel.population[:400].repeat(10), 2)
    dosages, values = sampled(model, tmp_path, 4000, populations=labels)
    population = labels[::2, None] == "CEU"
    real = traits_of(panel)
    real_dosages = panel.dosages()
    for trait, effects in EFFECTS.items():
        sites = sorted(effects)
        ours = LinearRegression().fit(np.hstack([dosages[:, sites], population]), values[:, trait])
        theirs = LinearRegression().fit(
            np.hstack([real_dosages[:, sites], panel.population[:, None] == "CEU"]), real[:, trait]
        )
        # Of scores in the place of values, and of 1,200 people: a fifteenth, and the population.
        np.testing.assert_allclose(ours.coef_[:-1], theirs.coef_[:-1], rtol=0.1)
        unit = real[:, trait].std()
        assert ours.coef_[-1] / unit == pytest.approx(theirs.coef_[-1] / unit, abs=0.12)
    for trait in range(3):
        assert stats.wasserstein_distance(values[:, trait], real[:, trait]) < 0.1 * np.std(
            real[:, trait]
        )
    left = [
        values[:, trait]
        - LinearRegression().fit(dosages[:, [5, 20, 40]], values[:, trait]).predict(
            dosages[:, [5, 20, 40]]
        )
        for trait in (EXPRESSED, BOTH)
    ]  # fmt: skip
    assert np.corrcoef(left)[0, 1] == pytest.approx(0.5, abs=0.06)


def test_haplotypes_given_a_trait_are_as_bayes_says(tmp_path: Path) -> None:
    panel = people(labelled=False)
    given = {"GENE1": float(np.quantile(traits_of(panel)[:, EXPRESSED], 0.9))}
    model = fitted(tmp_path, panel, given=given)
    dosages, values = sampled(model, tmp_path, 2000)
    assert np.allclose(values[:, EXPRESSED], given["GENE1"], rtol=1e-5)
    # By hand: binomial dosages, the score normal around its mean.
    score = model.model.scores({EXPRESSED: given["GENE1"]})[0]
    effect = model.model.effect[model.model.trait == EXPRESSED][0]
    mean, variance = model.model.means[0, EXPRESSED], model.model.covariance[EXPRESSED, EXPRESSED]
    copies = np.arange(3)
    prior = stats.binom.pmf(copies, 2, panel.frequencies[5])
    posterior = prior * stats.norm.pdf(score, mean + effect * copies, np.sqrt(variance))
    posterior /= posterior.sum()
    assert posterior @ copies > 2 * panel.frequencies[5] + 0.3
    shares = np.bincount(dosages[:, 5], minlength=3) / 2000
    np.testing.assert_allclose(shares, posterior, atol=0.04)
    # A site without an effect stays as it was; the other gene follows by what both share.
    assert dosages[:, 50].mean() / 2 == pytest.approx(panel.frequencies[50], abs=0.04)
    joint = stats.multivariate_normal(cov=model.model.covariance[:2, :2])
    at_effects = dosages[:, model.model.site].astype(np.int8)
    expected = model.model.expected(at_effects, np.zeros(2000, np.int64))
    slope = joint.cov[0, 1] / joint.cov[0, 0]
    other = expected[:, BOTH] + slope * (score - expected[:, EXPRESSED])
    drawn = np.array([model.model.scores({BOTH: value})[0] for value in values[:, BOTH]])
    assert (drawn - other).mean() == pytest.approx(0, abs=0.08)


def test_a_population_follows_what_is_given(tmp_path: Path) -> None:
    """Height is of populations alone: who is tall is rather of the taller one, unless asked."""
    panel = people()
    tall = float(np.quantile(traits_of(panel)[:, NOISE], 0.95))
    model = fitted(tmp_path, panel, given={"height": tall}, candidates=32)
    dosages, _ = sampled(model, tmp_path, 1500)
    ceu, yri = (
        panel.select_samples(panel.population == name).frequencies for name in ("CEU", "YRI")
    )
    share = LinearRegression(fit_intercept=False).fit(
        (ceu - yri)[:, None], dosages.mean(axis=0) / 2 - yri
    )
    score = model.model.scores({NOISE: tall})[0]
    deviation = np.sqrt(model.model.covariance[NOISE, NOISE])
    density = stats.norm.pdf(score, model.model.means[:, NOISE], deviation)
    assert share.coef_[0] == pytest.approx(density[0] / density.sum(), abs=0.05)
    asked, _ = sampled(model, tmp_path, 500, populations=np.repeat("YRI", 1000))
    np.testing.assert_allclose(asked.mean(axis=0) / 2, yri, atol=0.08)


def test_a_rare_given_value_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    panel = people(300)
    model = fitted(tmp_path, panel, given={"GENE2": 100.0}, candidates=4)
    with caplog.at_level(logging.WARNING):
        sampled(model, tmp_path, 20)
    assert "4 candidates are worth" in caplog.text


@pytest.mark.parametrize("given", [{}, {"GENE1": 1.0}])
def test_a_person_is_the_same_however_the_cohort_is_cut(
    tmp_path: Path, given: dict[str, float]
) -> None:
    model = fitted(tmp_path, people(200), given=given, candidates=4)
    dosages, values = sampled(model, tmp_path, 300)
    later, told = sampled(model, tmp_path, 50, start=2 * 230, batch_size=7)
    np.testing.assert_array_equal(later, dosages[230:280])
    np.testing.assert_array_equal(told, values[230:280])
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved")
    again, same = sampled(WithTraits().load(tmp_path / "saved", context(tmp_path)), tmp_path, 300)
    np.testing.assert_array_equal(again, dosages)
    np.testing.assert_array_equal(same, values)


def test_traits_of_given_people(tmp_path: Path) -> None:
    """Held-out people's traits, drawn from their haplotypes: effects as of the real ones."""
    panel = people()
    model = fitted(tmp_path, panel)
    others = people(seed=1).select_samples(np.arange(600))
    drawn = model.traits(others, context(tmp_path))
    fit = stats.linregress(others.dosages()[:, 5], drawn[:, EXPRESSED])
    assert fit.slope == pytest.approx(0.8, abs=4 * fit.stderr)
    some = others.select_sites(np.arange(5, N_SITES))
    np.testing.assert_array_equal(model.model.dosages(some), model.model.dosages(others))
    with pytest.raises(PanelError, match=r"site 1:5001 N/N, .* isn't in the panel"):
        model.traits(others.select_sites(np.arange(6, N_SITES)), context(tmp_path))
    other = replace(others, alt=np.full(N_SITES, "T"))
    with pytest.raises(PanelError, match=r"site 1:5001 N/N, .* is N/T in the panel"):
        model.traits(other, context(tmp_path))
    with pytest.raises(PanelError, match="contig: '2', expected '1' as in training"):
        model.traits(replace(others, contig="2"), context(tmp_path))
    with pytest.raises(PanelError, match="ploidy: 1, expected 2"):
        model.traits(others.as_haploid(), context(tmp_path))


def test_one_haplotype_a_person(tmp_path: Path) -> None:
    panel = people(ploidy=1)
    model = fitted(tmp_path, panel)
    dosages, values = sampled(model, tmp_path, 1000)
    assert stats.linregress(dosages[:, 5], values[:, EXPRESSED]).slope == pytest.approx(
        0.8, abs=0.3
    )


def test_a_trait_that_most_people_lack_keeps_its_zeros(tmp_path: Path) -> None:
    panel = people(400)
    values = np.maximum(traits_of(panel)[:, :1] - 2.0, 0)
    model = fitted(tmp_path, panel, table=table(tmp_path, panel, values))
    _, drawn = sampled(model, tmp_path, 2000)
    assert (drawn == 0).mean() == pytest.approx((values == 0).mean(), abs=0.05)
    assert drawn.min() == 0
    with pytest.raises(BenchError, match=r"given: GENE1 -1, but .* within 0 and inf"):
        fitted(tmp_path, panel, table=str(tmp_path / "traits.tsv"), given={"GENE1": -1})


def test_people_without_a_row_have_no_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    panel = people(200)
    some = panel.select_samples(np.arange(150))
    with caplog.at_level(logging.WARNING):
        model = fitted(tmp_path, panel, table=table(tmp_path, some))
    assert "50 of 200 training people have no row" in caplog.text
    alone = fitted(tmp_path, some)
    np.testing.assert_array_equal(model.model.covariance, alone.model.covariance)
    with pytest.raises(BenchError, match=r"10 of the 200 training people, expected 20"):
        fitted(tmp_path, panel, table=table(tmp_path, panel.select_samples(np.arange(10))))
    of_one = panel.select_samples(panel.population == "CEU")
    with pytest.raises(BenchError, match="nobody of population 'YRI'"):
        fitted(tmp_path, panel, table=table(tmp_path, of_one))


def test_missing_alleles_are_refused(tmp_path: Path) -> None:
    panel = people(50)
    panel.haplotypes[3, 4] = -1
    with pytest.raises(PanelError, match="missing alleles"):
        fitted(tmp_path, panel)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person\tGENE1\np0\t1\n", "traits.tsv:1: found the columns 'person, GENE1'"),
        ("sample\np0\n", "traits.tsv:1: found the columns 'sample'"),
        ("sample\tGENE1\tGENE1\np0\t1\t1\n", "traits.tsv:1: column 3: found 'GENE1'"),
        ("sample\tGENE1\n", "traits.tsv: no rows"),
        ("sample\tGENE1\np0\t1\np1\tNA\n", "traits.tsv:3: column GENE1: found 'NA'"),
        ("sample\tGENE1\np0\tinf\n", "traits.tsv:2: column GENE1: found 'inf'"),
        ("sample\tGENE1\np0\t1\np0\t2\n", "traits.tsv:3: sample 'p0' has a row already"),
        ("sample\tGENE1\np0\n", "traits.tsv:2: 1 cells, expected 2"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "traits.tsv").write_text(text)
    with pytest.raises(ValidationError) as refused:
        TraitsParams(table=str(tmp_path / "traits.tsv"), generator="li-stephens")
    assert message in str(refused.value)


def test_what_cant_be_asked_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, people(30))
    for wrong, message in (
        ({"generator": "markov"}, "isn't one that takes populations"),
        ({"generator": "with-traits"}, "isn't one that takes populations"),
        ({"generator": "li-stephens", "params": {"nee": 1}}, "nee"),
        ({"given": {"GENE9": 1.0}}, "'GENE9' is no column"),
        ({"table": str(tmp_path / "absent.tsv")}, "absent.tsv"),
    ):
        with pytest.raises(ValidationError, match=message):
            TraitsParams(**({"table": path, "generator": "li-stephens"} | wrong))


def test_a_changed_table_is_another_fit(tmp_path: Path) -> None:
    params = TraitsParams(table=table(tmp_path, people(30)), generator="li-stephens")
    before = params.fingerprint()
    table(tmp_path, people(31))
    assert params.fingerprint() != before


def test_the_generator_keeps_its_contract(tmp_path: Path) -> None:
    panel = example_panel(populations=("YRI", "CEU"))
    values = np.random.default_rng(1).normal(size=(panel.n_samples, 2))
    path = table(tmp_path, panel, values)
    frame = pd.read_csv(path, sep="\t")
    haploid = frame.assign(sample=frame["sample"] + "_A")
    pd.concat([frame, haploid, frame.assign(sample=frame["sample"] + "_B")]).to_csv(
        path, sep="\t", index=False
    )
    assert check_generator(SPEC, panel, params={"table": path, "generator": "li-stephens"})
