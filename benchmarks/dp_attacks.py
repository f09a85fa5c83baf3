"""Attacks on the noise of `vae-federated`: does anything give away who is in the training panel?

    python benchmarks/dp_attacks.py --trials 100 --out dp_attacks.json

Every attack ends in a ranking of all people of the panel, on which the one who is looked for should
stand anywhere: its place among n people is uniform where nothing is given away (Kolmogorov-Smirnov
over the trials). `--repeatable` runs them with noise from the seed, where each must find its
person: otherwise an attack would show nothing.

- `withdrawal`: the generator's own `withdrawn` takes one person out; the difference of the two
  published models is correlated with everybody's alleles.
- `two-epsilon`: two runs with one seed and two ε. If their noise differs in its width alone, it can
  be solved for. The attacker knows everybody but one. (Repeatable noise of another width is other
  noise; with `--repeatable` a source is planted that scales what a seed gives.)
- `seed-search`: noise of the released allele frequencies is taken off by noise of every seed of a
  reduced space, the suite's own among them, by the generator's own code in both its modes. The
  attacker knows everybody but one.
- `replay`: a checkpoint is gone on from twice, the second time without one person.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import stats
from torch import nn

from haplobench import Panel
from haplobench.testing import example_context, example_panel
from haplobench_federated.federation import Federated, federate
from haplobench_federated.generator import Federated as Generator
from haplobench_federated.model import WindowCodeFamily
from haplobench_federated.params import FederatedParams

SEEDS = 24  # of the reduced space


class KilledError(Exception):
    """Stands for a process that dies."""


@dataclass
class Setting:
    """What all trials of an attack share.

    Attributes
    ----------
    folder : Path
        For artifacts and checkpoints.
    people, sites : int
    params : dict
        Of the generator, beside its defaults. δ is given, so that noise for one person less is
        just as wide.
    repeatable : bool
        Whether noise is to come from the seed.
    noises : dict
        By seed and mode, what the seed search took off.
    """

    folder: Path
    people: int = 300
    sites: int = 120
    params: dict[str, Any] = field(default_factory=lambda: {"delta": 1e-6})
    repeatable: bool = False
    noises: dict[tuple[int, bool], NDArray[np.float64]] = field(default_factory=dict)

    def panel(self, trial: int) -> Panel:
        """People of a trial."""
        return example_panel(n_samples=self.people, n_sites=self.sites, seed=1000 + trial)

    def given(self, *, repeatable: bool | None = None, **changes: Any) -> FederatedParams:
        """Parameters of a fit."""
        asked = self.repeatable if repeatable is None else repeatable
        mode = {"repeatable_noise": True} if asked else {}
        return FederatedParams.model_validate(self.params | mode | changes)

    def fit(self, panel: Panel, seed: int, **changes: Any) -> nn.Module:
        """A published model."""
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            ctx = example_context(Path(scratch), panel, seed)
            return Generator().fit(panel, self.given(**changes), ctx).model

    def federated(self, panel: Panel, seed: int, **changes: Any) -> Federated:
        """What a server sees in the end."""
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            ctx = example_context(Path(scratch), panel, seed)
            return federate(panel, self.given(**changes), ctx, WindowCodeFamily())


def withdrawal(setting: Setting, trial: int) -> float:
    """Correlate the difference of two models with everybody's alleles."""
    panel = setting.panel(trial)
    victim = _victim(panel, trial)
    whole = setting.fit(panel, trial)
    without = setting.fit(panel, trial, withdrawn=[str(panel.samples[victim])])
    return _place(_by_site(whole) - _by_site(without), panel, victim)


def two_epsilon(setting: Setting, trial: int) -> float:
    """Solve for the noise of allele counts that two runs may share."""
    panel = setting.panel(trial)
    victim = _victim(panel, trial)
    counts, scales = [], []
    planted = proportional_noise() if setting.repeatable else contextlib.nullcontext()
    with planted:
        for epsilon in (0.5, 1.0):
            # The privacy of counts is a share of the budget: public, as are all parameters.
            result = _released(setting, panel, trial, epsilon=epsilon)
            counts.append(_counts(result, panel))
            scales.append(float(_noise_level(result)))
    exact = (counts[1] * scales[0] - counts[0] * scales[1]) / (scales[0] - scales[1])
    return _place(exact - _others(panel, victim), panel, victim, _unclipped(*counts, panel=panel))


@contextlib.contextmanager
def proportional_noise() -> Iterator[None]:
    """Plant a source whose noise of another width is the same, scaled."""
    from haplobench.noise import NoiseSource
    from haplobench_federated import client_app

    class Scaled(NoiseSource):
        def discrete_gaussian(self, deviation: float, n: int) -> NDArray[np.int64]:
            return np.rint(deviation * np.random.default_rng(5).standard_normal(n)).astype(np.int64)

    source = client_app.noise_source
    client_app.noise_source = lambda *key: Scaled()
    try:
        yield
    finally:
        client_app.noise_source = source


def seed_search(setting: Setting, trial: int) -> float:
    """Take off the noise of every seed, and keep what fits somebody best."""
    panel = setting.panel(trial)
    victim = _victim(panel, trial)
    seed = trial % SEEDS
    found = _counts(_released(setting, panel, seed, epsilon=2.0), panel)
    usable = _unclipped(found, panel=panel)
    left = found - _others(panel, victim)
    best = np.full(panel.n_samples, -np.inf)
    for noise in _noises(setting).values():
        both = usable & np.isfinite(noise)
        best = np.maximum(best, _correlations(left - noise, panel, both))
    return _rank(best, victim, trial)


def replay(setting: Setting, trial: int) -> float:
    """Go on from one checkpoint with everybody and without one."""
    panel = setting.panel(trial)
    victim = _victim(panel, trial)
    remaining = panel.select_samples(np.arange(panel.n_samples) != victim)
    changes: dict[str, Any] = {"clients": 1, "rounds": 2, "strategy": "fedavg", "averaging": 0.0}
    changes |= {"optimiser": "sgd", "schedule": "constant", "learning_rate": 0.25, "epsilon": 1.0}
    with tempfile.TemporaryDirectory(dir=setting.folder) as scratch:
        folder = Path(scratch)

        def die(fraction: float, message: str) -> None:
            raise KilledError

        def context(name: str, people: Panel) -> Any:
            return example_context(folder / name, people, trial, checkpoint=folder / name / "kept")

        for name in ("whole", "without"):
            (folder / name / "kept").mkdir(parents=True)
        params = setting.given(**changes)
        with contextlib.suppress(KilledError):
            Generator().fit(panel, params, replace(context("whole", panel), progress=die))
        shutil.copytree(folder / "whole" / "kept", folder / "without" / "kept", dirs_exist_ok=True)
        _forge(folder / "without" / "kept", remaining)
        models = [
            Generator().fit(people, params, context(name, people)).model
            for name, people in (("whole", panel), ("without", remaining))
        ]
    return _place(_by_site(models[0]) - _by_site(models[1]), panel, victim)


ATTACKS: dict[str, Callable[[Setting, int], float]] = {
    "withdrawal": withdrawal,
    "two-epsilon": two_epsilon,
    "seed-search": seed_search,
    "replay": replay,
}


def run(attack: str, setting: Setting, trials: int) -> dict[str, Any]:
    """Places of the one who is looked for over trials, from 0 (first) to 1, and what they say."""
    started = time.process_time()
    places = [ATTACKS[attack](setting, trial) for trial in range(trials)]
    # Places of a uniform rank, spread evenly over their width.
    return {
        "attack": attack,
        "trials": trials,
        "first": sum(place < 1 / setting.people for place in places),
        "median": float(np.median(places)),
        "ks_p": float(stats.kstest(places, "uniform").pvalue),
        "cpu_seconds": time.process_time() - started,
    }


def _victim(panel: Panel, trial: int) -> int:
    return int(np.random.default_rng(trial).integers(panel.n_samples))


def _dosages(panel: Panel) -> NDArray[np.float64]:
    """Mean alleles (n_samples, n_sites) less 1/2, as clients count them."""
    shape = panel.n_samples, panel.ploidy, panel.n_sites
    return np.asarray(panel.haplotypes).reshape(shape).mean(axis=1) - 0.5


def _by_site(model: nn.Module) -> NDArray[np.float64]:
    """The decoder's logits summed over codes (n_sites of whole windows,)."""
    logits = model.state_dict()["decoder.logits"].double().numpy()
    return np.asarray(logits.sum(axis=2).ravel())


def _released(setting: Setting, panel: Panel, seed: int, **changes: Any) -> Federated:
    return setting.federated(panel, seed, clients=1, rounds=1, **changes)


def _counts(result: Federated, panel: Panel) -> NDArray[np.float64]:
    assert result.facts.frequencies is not None
    return (result.facts.frequencies - 0.5) * panel.n_samples


def _noise_level(result: Federated) -> str:
    """Of allele counts, from the published statement."""
    said = result.statement.mechanism
    return said.split("Gaussian noise ")[1].split(" ")[0]


def _others(panel: Panel, victim: int) -> NDArray[np.float64]:
    return np.asarray(np.delete(_dosages(panel), victim, axis=0).sum(axis=0))


def _unclipped(*counts: NDArray[np.float64], panel: Panel) -> NDArray[np.bool_]:
    return np.all([np.abs(one) < 0.499 * panel.n_samples for one in counts], axis=0)


def _noises(setting: Setting) -> dict[tuple[int, bool], NDArray[np.float64]]:
    """By seed and mode, the noise that the generator draws for a panel that the attacker has."""
    if not setting.noises:
        own = setting.panel(-1)
        for seed in range(SEEDS):
            for mode in (False, True):
                counts = _counts(_released(setting, own, seed, epsilon=2.0, repeatable=mode), own)
                noise = counts - _dosages(own).sum(axis=0)
                setting.noises[seed, mode] = np.where(_unclipped(counts, panel=own), noise, np.nan)
    return setting.noises


def _forge(folder: Path, panel: Panel) -> None:
    """Make a checkpoint claim that it is of `panel`."""
    path = folder / "federation.safetensors"
    with safe_open(path, framework="pt") as file:
        said = json.loads(file.metadata()["federation"])
    said["identity"]["train"] = panel.digest
    save_file(load_file(path), path, metadata={"federation": json.dumps(said, sort_keys=True)})


def _correlations(
    signal: NDArray[np.float64], panel: Panel, usable: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Of a signal per site with each person's alleles, less the mean person's (n_samples,)."""
    dosages = _dosages(panel)
    dosages = dosages - dosages.mean(axis=0)
    signal = signal[: panel.n_sites]
    if usable is not None:
        signal, dosages = signal[usable], dosages[:, usable]
    signal = signal - signal.mean()
    dosages = dosages - dosages.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(dosages, axis=1) * np.linalg.norm(signal) + 1e-300
    return np.asarray(dosages @ signal / lengths)


def _place(
    signal: NDArray[np.float64],
    panel: Panel,
    victim: int,
    usable: NDArray[np.bool_] | None = None,
) -> float:
    return _rank(_correlations(signal, panel, usable), victim, victim)


def _rank(scores: NDArray[np.float64], victim: int, seed: int) -> float:
    """The victim's place, 0 to 1: how many score more, spread over a rank's width."""
    above = int((scores > scores[victim]).sum())
    ties = int((scores == scores[victim]).sum()) - 1
    spread = np.random.default_rng([seed, 7]).random() * (1 + ties)
    return float((above + spread) / scores.size)


def main() -> None:
    """Run the attacks that are asked for and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--attack", choices=ATTACKS, action="append", help="Only this one.")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--sites", type=int, default=120)
    parser.add_argument("--epsilon", type=float, help="Of withdrawal; default: 8.")
    parser.add_argument("--repeatable", action="store_true", help="With noise from the seed.")
    parser.add_argument("--out", type=Path, help="Write the results here, too, as JSON.")
    options = parser.parse_args()
    logging.getLogger("haplobench").setLevel(logging.ERROR)
    results = []
    print("| attack | trials | first | median place | KS p | CPU s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="dp-attacks-") as folder:
        setting = Setting(
            Path(folder), options.people, options.sites, repeatable=options.repeatable
        )
        if options.epsilon is not None:
            setting.params["epsilon"] = options.epsilon
        for attack in options.attack or ATTACKS:
            one = run(attack, setting, options.trials)
            results.append(one)
            print(
                f"| {attack} | {one['trials']} | {one['first']} | {one['median']:.3f} | "
                f"{one['ks_p']:.3g} | {one['cpu_seconds']:.0f} |",
                flush=True,
            )
    if options.out is not None:
        said = {key: value for key, value in vars(options).items() if key != "out"}
        options.out.write_text(json.dumps({"options": said, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
