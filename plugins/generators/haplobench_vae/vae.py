"""`vae`: discrete window codes with a causal prior along the chromosome."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from haplobench import BenchError, Panel, Populations, RunContext
from haplobench.distributed import shard
from haplobench_vae.calibration import calibrated
from haplobench_vae.checkpoints import CheckpointFile
from haplobench_vae.codebooks import Codebooks, CodebookSettings, fit_codebooks
from haplobench_vae.fitted import FittedVAE
from haplobench_vae.mosaics import Mosaics
from haplobench_vae.params import VAEParams
from haplobench_vae.prior import PriorShape, WindowPrior
from haplobench_vae.prior_training import PriorHistory, TrainingData, train_prior
from haplobench_vae.ranks import all_windows
from haplobench_vae.storage import reading_model
from haplobench_vae.training import cpu_generator, reproducible, validation_haplotypes
from haplobench_vae.windows import WindowTiling

_CODEBOOK_SHARE = 0.05


class VAE:
    """A windowed VAE with discrete latents (van den Oord et al. 2017), over any number of ranks.

    Each window of adjacent sites has a codebook; a causal transformer with local attention is
    the prior over the codes, conditioned on the population; the decoder adds to a code's table
    of allele probabilities what the windows before tell beyond the code.
    """

    def fit(self, train: Panel, params: VAEParams, ctx: RunContext) -> FittedVAE:
        """Fit codebooks, then the prior; writes `training.json` (losses) to the artifacts.

        Raises BenchError if the panel has no sites or fewer than two people.
        """
        if not train.n_sites:
            raise BenchError("training panel: found 0 sites, expected at least 1")
        held = validation_haplotypes(
            train, params.validation, ctx.rng("vae", "validation"), ctx.validation
        )
        populations = Populations.of(train)
        population = populations.index(train.haplotype_populations)
        haplotypes = np.asarray(train.haplotypes)
        fitting = haplotypes[~held]
        n = fitting.shape[0]
        params = params.for_haplotypes(n)
        assert params.codes is not None
        assert params.smoothing is not None
        tiling = WindowTiling(train.n_sites, min(params.window, train.n_sites))
        settings = CodebookSettings(
            codes=params.codes,
            iterations=params.iterations,
            smoothing=params.smoothing,
        )
        data = TrainingData(
            Mosaics.of(
                fitting, population[~held], train.positions, ctx.recombination_map, params.ne
            ),
            population[~held],
            haplotypes[held],
            population[held],
        )
        with reproducible(ctx.threads):
            ctx.progress(0.0, f"codebooks of {tiling.n_windows} windows")
            on_cpu = _codebooks(fitting, tiling, settings, ctx)
            books = Codebooks(on_cpu.logits.to(ctx.device), on_cpu.log_weights.to(ctx.device))
            shape = _shape(params, tiling, settings.codes, populations)
            generator = cpu_generator(ctx.seed_for("vae", "weights"))
            model = WindowPrior(shape, on_cpu, generator).to(ctx.device)

            def report(epoch: int, epochs: int, loss: float) -> None:
                ctx.progress(
                    _CODEBOOK_SHARE + (1 - _CODEBOOK_SHARE) * (epoch + 1) / epochs,
                    f"epoch {epoch + 1} of {epochs}: validation loss {loss:.2f} nats",
                )

            checkpoint = _checkpoint(train, params, ctx)
            history = train_prior(model, books, tiling, data, params, ctx, report, checkpoint)
        fitted = FittedVAE(params, tiling, populations, train.ploidy, model, on_cpu)
        if params.temperature is None:
            fitted = calibrated(fitted, fitting, population[~held], ctx)
        if ctx.group.rank == 0:
            _write_history(ctx.artifacts / "training.json", history, fitted.params.temperature)
        return fitted

    def load(self, directory: Path, ctx: RunContext) -> FittedVAE:
        """Read what `FittedVAE.save` wrote.

        Raises BenchError if the folder isn't such a model.
        """
        with reading_model(directory, "vae") as (head, state):
            params = VAEParams.model_validate(head["params"])
            tiling = WindowTiling(head["n_sites"], head["width"])
            populations = Populations(**{k: tuple(v) for k, v in head["populations"].items()})
            shape = _shape(params, tiling, head["codes"], populations)
            books = Codebooks(state["logits"].clone(), state.pop("log_weights"))
            model = WindowPrior(shape, books, cpu_generator(0))
            model.load_state_dict(state)
            ploidy = int(head["ploidy"])
        if torch.device(ctx.device).type == "cpu":
            from haplobench_vae.sampling_compiled import load_kernels

            load_kernels()
        return FittedVAE(params, tiling, populations, ploidy, model.eval().to(ctx.device), books)


def _codebooks(
    haplotypes: NDArray[np.int8], tiling: WindowTiling, settings: CodebookSettings, ctx: RunContext
) -> Codebooks:
    """Codebooks of all windows, each fitted by one rank; on the CPU."""
    n, group = tiling.n_windows, ctx.group
    own = shard(n, group.rank, group.size)
    windows = range(own.start, own.stop)
    cut = torch.from_numpy(tiling.cut(haplotypes, windows)).to(ctx.device)
    seeds = [ctx.seed_for("vae", "codebooks", window) for window in windows]
    books = fit_codebooks(cut, settings, seeds)
    logits, log_weights = (
        all_windows(values, own, n, group) for values in (books.logits, books.log_weights)
    )
    return Codebooks(logits, log_weights)


def _shape(
    params: VAEParams, tiling: WindowTiling, codes: int, populations: Populations
) -> PriorShape:
    return PriorShape(
        n_windows=tiling.n_windows,
        sites=tiling.padded,
        codes=codes,
        populations=len(populations.names),
        superpopulation=populations.superpopulation_of,
        dimension=params.dimension,
        layers=params.layers,
        heads=params.heads,
        feed_forward=params.feed_forward,
        reach=params.reach,
        residual=params.residual,
    )


def _checkpoint(train: Panel, params: VAEParams, ctx: RunContext) -> CheckpointFile | None:
    if ctx.checkpoint is None:
        return None
    identity = {
        "generator": "vae",
        "params": params.model_dump(),
        "seed": ctx.seed,
        "train": train.digest,
        "validation": None if ctx.validation is None else ctx.validation.tolist(),
    }
    return CheckpointFile(ctx.checkpoint / "prior.safetensors", identity)


def _write_history(path: Path, history: PriorHistory, temperature: float | None) -> None:
    """Validation losses of every epoch, which was kept, and the temperature of samples."""
    record = {
        "best_epoch": history.best_epoch,
        "validation_code_loss_nats": history.code_loss,
        "validation_allele_loss_nats": history.allele_loss,
        "temperature": temperature,
    }
    path.write_text(json.dumps(record) + "\n")
