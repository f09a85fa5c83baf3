"""`rbm`: restricted Boltzmann machines along the sites, trained and sampled out of equilibrium."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from haplobench import Panel, RunContext, SampleRequest
from haplobench.kernels import compiled
from haplobench_peers import RBMParams
from haplobench_peers.common import Checkpoint, Frame, Strata, Tiling, refuse_unfit

Floats = NDArray[np.float32]
_NAME = "rbm"
_TOGETHER = 8  # windows trained together; another number gives other machines
_FIRST_MOMENT, _SECOND_MOMENT, _TINY = 0.5, 0.99, 1e-4  # Adam's
_WARM_UP = 50  # updates
_ALL_UPDATES, _FEWEST, _MOST = 36_000, 300, 3_000
_LEAST_RATE = 0.02
_RAREST = 1e-4  # allele frequency that a chain starts from, at least
_SMALL = np.float32(1e-2)  # deviation of the weights at the start


class RBM:
    """Restricted Boltzmann machines after Yelmen et al. (2021, 2023).

    A machine has binary units: alleles v and hidden h, with p(v, h) proportional to
    exp(a v + b h + v W h). It is trained out of equilibrium (Decelle et al. 2021): the negative
    part of the gradient comes from chains of `steps` Gibbs steps that start from random alleles,
    and samples are what the same few steps give from the same start. So no chain has to mix.

    With `window` sites to a machine, each is given the `overlap` sites before and the label, as
    pinned units (the conditional machine of 2023, whose windows have 10,000 sites). With
    `window` None and `within` all, one machine has all sites, as in 2021.

    Departures: windows are small, since fits take minutes on a CPU, not days on a GPU. What is
    pinned acts on the alleles directly, too, as in the conditional machines of Taylor et al.
    (2007). The superpopulation is pinned, after Carbone et al. (2023). Chains start from
    independent alleles at the training frequencies, not from coin tosses. Adam instead of plain
    ascent, with units centred (as published), and averaged weights. The published settings (500
    hidden units, 50 steps, 500 chains, some 16,000 updates at a rate of 0.01) can be asked for.
    """

    def fit(self, train: Panel, params: RBMParams, ctx: RunContext) -> FittedRBM:
        """Train the machines of all windows, `ctx.threads` groups of windows at a time.

        Raises PanelError if alleles are missing, or if there are none.
        """
        refuse_unfit(train, _NAME)
        strata = Strata.of(train, params.within)
        tiling = Tiling.of(train.n_sites, params.window, params.overlap)
        updates = params.updates or min(max(_ALL_UPDATES // tiling.n_windows, _FEWEST), _MOST)
        params = params.model_copy(update={"updates": updates})
        alleles = tiling.pad(np.asarray(train.haplotypes))
        labels = np.eye(strata.n, dtype=np.float32)[strata.index(train)]
        groups = [
            range(first, min(first + _TOGETHER, tiling.n_windows))
            for first in range(0, tiling.n_windows, _TOGETHER)
        ]
        checkpoint = Checkpoint.of(_NAME, train, params, ctx)
        done, lock = 0, threading.Lock()

        def tell() -> None:
            nonlocal done
            with lock:
                done += 1
                share = done / (len(groups) * updates)
                ctx.progress(share, f"machines of {tiling.n_windows} windows")

        def group(windows: range) -> Machines:
            file = f"windows-{windows.start}.npz"
            if arrays := checkpoint.read(file, Machines.__dataclass_fields__):
                return Machines(**arrays)
            rng = np.random.Generator(np.random.SFC64(ctx.seed_for(_NAME, "train", windows.start)))
            machines = _train(alleles, labels, tiling, windows, params, updates, rng, tell)
            checkpoint.write(file, vars(machines))
            return machines

        with ThreadPoolExecutor(max(1, ctx.threads)) as pool:
            machines = Machines.joined(list(pool.map(group, groups)))
        return FittedRBM(machines, Frame.of(train, tiling, strata, params.steps))

    def load(self, directory: Path, ctx: RunContext) -> FittedRBM:
        """Read what `save` wrote."""
        arrays, frame = Frame.load(directory, _NAME)
        return FittedRBM(Machines(**arrays), frame)


@dataclass(frozen=True, eq=False)
class Machines:
    """Machines of some windows, all float32, T windows, s sites, H hidden units, K pinned units.

    `weights` (T, s, H); `visible` (T, 1, s) and `hidden` (T, 1, H): biases; `to_visible` (T, K, s)
    and `to_hidden` (T, K, H): what pinned units (sites before, then labels) add to them; `start`
    (T, 1, s): log odds of the alleles that chains start from.
    """

    weights: Floats
    visible: Floats
    hidden: Floats
    to_visible: Floats
    to_hidden: Floats
    start: Floats

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All windows of the parts, in order."""
        return cls(**{k: np.concatenate([getattr(p, k) for p in parts]) for k in vars(parts[0])})


def _train(
    padded: NDArray[np.int8],
    labels: Floats,
    tiling: Tiling,
    windows: range,
    params: RBMParams,
    updates: int,
    rng: np.random.Generator,
    tell: Callable[[], None],
) -> Machines:
    """Train the machines of some windows together; they share no parameters.

    In the parameters of the ascent every unit is centred, on its training frequency (hidden units:
    on a half), which changes the gradient and not the machine (Montavon & Müller 2012).

    `padded` (n, tiling.padded); `labels` (n, n_strata) float32, one-hot.
    """
    n, n_windows = padded.shape[0], len(windows)
    size, rank = min(params.batch_size, n), labels.shape[1] + tiling.overlap

    def pinned(rows: NDArray[np.int64] | slice) -> Floats:
        given = [tiling.given(padded[rows], window) for window in windows]
        return np.stack([np.hstack([g, labels[rows]]) for g in given]).astype(np.float32)

    def alleles(rows: NDArray[np.int64] | slice) -> Floats:
        return np.stack([tiling.inside(padded[rows], w) for w in windows]).astype(np.float32)

    frequency = np.stack(
        [tiling.inside(padded, w).mean(axis=0, keepdims=True) for w in windows]
    ).astype(np.float32)
    centre = np.stack(
        [np.hstack([tiling.given(padded, w).mean(0), labels.mean(0)])[None] for w in windows]
    ).astype(np.float32)
    clipped = frequency.clip(_RAREST, 1 - _RAREST)
    start = np.log(clipped / (1 - clipped))
    shape = n_windows, tiling.width, params.hidden
    now = {
        "weights": _SMALL * rng.standard_normal(shape, np.float32),
        "visible": start.copy(),
        "hidden": np.zeros((n_windows, 1, params.hidden), np.float32),
        "to_visible": np.zeros((n_windows, rank, tiling.width), np.float32),
        "to_hidden": _SMALL * rng.standard_normal((n_windows, rank, params.hidden), np.float32),
    }
    first, second, kept = ({k: np.zeros_like(v) for k, v in now.items()} for _ in range(3))
    order, at = rng.permutation(n), 0
    for update in range(updates):
        if at + size > n:
            order, at = rng.permutation(n), 0
        rows = order[at : at + size]
        at += size
        data, given = alleles(rows), pinned(rows) - centre
        weights = now["weights"]
        fields = _Fields(
            visible=now["visible"] + given @ now["to_visible"] - weights.sum(2)[:, None] / 2,
            hidden=now["hidden"] + given @ now["to_hidden"] - frequency @ weights,
        )
        model = fields.chain(weights, np.broadcast_to(start, data.shape), params.steps, rng)
        on, off = (fields.hidden_means(weights, v) for v in (data, model))
        across = given.transpose(0, 2, 1) / size
        gradient = {
            "weights": (
                (data - frequency).transpose(0, 2, 1) @ (on - 0.5)
                - (model - frequency).transpose(0, 2, 1) @ (off - 0.5)
            )
            / size,
            "visible": (data - model).mean(axis=1, keepdims=True),
            "hidden": (on - off).mean(axis=1, keepdims=True),
            "to_visible": across @ (data - model),
            "to_hidden": across @ (on - off),
        }
        left = 2 * (1 - (update + 1) / updates)
        rate = params.learning_rate * min(1, (update + 1) / _WARM_UP, max(_LEAST_RATE, left))
        keep = min(params.averaging, (update + 1) / (update + 10))
        for name, slope in gradient.items():
            first[name] += (1 - _FIRST_MOMENT) * (slope - first[name])
            second[name] += (1 - _SECOND_MOMENT) * (slope**2 - second[name])
            step = first[name] / (1 - _FIRST_MOMENT ** (update + 1))
            step /= np.sqrt(second[name] / (1 - _SECOND_MOMENT ** (update + 1))) + _TINY
            now[name] += np.float32(rate) * step
            kept[name] += np.float32(1 - keep) * (now[name] - kept[name])
        tell()
    # From centred units to plain ones.
    weights = kept["weights"]
    kept["visible"] -= centre @ kept["to_visible"] + weights.sum(2)[:, None] / 2
    kept["hidden"] -= centre @ kept["to_hidden"] + frequency @ weights
    return Machines(**kept, start=start)


@dataclass(frozen=True, eq=False)
class _Fields:
    """Biases of each unit in each chain, pinned units included: (…, n, s) and (…, n, H)."""

    visible: Floats
    hidden: Floats

    def chain(self, weights: Floats, start: Floats, steps: int, rng: np.random.Generator) -> Floats:
        """Alleles after some Gibbs steps: (…, n, s) float32 of 0 and 1.

        `weights` (…, s, H); `start` (…, n, s): log odds of the alleles that the chains start from.
        """
        back = np.ascontiguousarray(np.swapaxes(weights, -1, -2))
        alleles = fire(np.ascontiguousarray(start), rng)
        for _ in range(steps):
            field = alleles @ weights
            field += self.hidden
            hidden = fire(field, rng)
            field = hidden @ back
            field += self.visible
            alleles = fire(field, rng)
        return alleles

    def hidden_means(self, weights: Floats, alleles: Floats) -> Floats:
        """Probabilities of the hidden units given alleles: (…, n, H)."""
        # 1 / (1 + exp(-field)) without an overflow
        return np.asarray(0.5 + 0.5 * np.tanh((alleles @ weights + self.hidden) / 2), np.float32)


def fire(field: Floats, rng: np.random.Generator) -> Floats:
    """Units that are 1 with probability 1 / (1 + exp(-field)): float32 of the same shape.

    The probability is exact to 1 / 65536.
    """
    words = rng.integers(0, 1 << 64, -(-field.size // 4), np.uint64, endpoint=False)
    units = np.empty_like(field)
    _fire(field.reshape(-1), words.view(np.uint16), units.reshape(-1))
    return units


def _fire_plain(field: Any, level: Any, units: Any) -> None:
    for i in range(units.size):
        # exp(-field), by its Taylor polynomial at a 64th and six squarings: what processors can
        # do for 16 units at a time. Relative error under 1e-4.
        x = min(max(field[i], np.float32(-20)), np.float32(20)) * np.float32(-1 / 64)
        e = np.float32(1 / 24) + x * np.float32(1 / 120)
        e = np.float32(1) + x * (
            np.float32(1) + x * (np.float32(0.5) + x * (np.float32(1 / 6) + x * e))
        )
        e = e * e
        e = e * e
        e = e * e
        e = e * e
        e = e * e
        e = e * e
        below = (np.float32(level[i]) + np.float32(0.5)) * (np.float32(1) + e) < np.float32(65536)
        units[i] = np.float32(below)


_fire = compiled(_fire_plain, fastmath=True, error_model="numpy")


@dataclass(frozen=True, eq=False)
class FittedRBM:
    """Trained machines; a sample has the frame's steps of Gibbs sampling."""

    machines: Machines
    frame: Frame

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; the labels asked for may be superpopulations, too."""
        return self.frame.sample(request, ctx, _NAME, self._draw)

    def _draw(self, rng: np.random.Generator, stratum: NDArray[np.int64]) -> Floats:
        """Haplotypes of the strata (n,) int64, window after window: padded."""
        tiling, n = self.frame.tiling, stratum.size
        machines = self.machines
        labels = np.eye(self.frame.strata.n, dtype=np.float32)[stratum]
        padded = np.zeros((n, tiling.padded), np.float32)
        for window in range(tiling.n_windows):
            pinned = np.hstack([tiling.given(padded, window), labels])
            fields = _Fields(
                visible=machines.visible[window] + pinned @ machines.to_visible[window],
                hidden=machines.hidden[window] + pinned @ machines.to_hidden[window],
            )
            start = np.broadcast_to(machines.start[window], (n, tiling.width))
            alleles = fields.chain(machines.weights[window], start, self.frame.steps, rng)
            tiling.inside(padded, window)[:] = alleles
        return padded

    def save(self, directory: Path) -> None:
        """Write the machines."""
        self.frame.save(directory, _NAME, vars(self.machines))
