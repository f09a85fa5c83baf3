"""`vae`: discrete window codes with a causal prior along the chromosome."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from haplobench import BenchError, Panel, RunContext, SampleRequest
from haplobench_vae.codebooks import Codebooks, CodebookSettings, fit_codebooks
from haplobench_vae.mosaics import Mosaics
from haplobench_vae.params import VAEParams
from haplobench_vae.populations import Populations
from haplobench_vae.prior import PriorShape, WindowPrior
from haplobench_vae.prior_training import PriorHistory, TrainingData, train_prior
from haplobench_vae.sampling import BlockSampler
from haplobench_vae.training import cpu_generator, reproducible, validation_haplotypes
from haplobench_vae.windows import WindowTiling

_FORMAT = 1
_BLOCK = 256
_MANY = 2000  # haplotypes
_CODEBOOK_SHARE = 0.05


class VAE:
    """A windowed VAE with discrete latents (van den Oord et al. 2017), on one process.

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
        many = n > _MANY
        window = params.window or (32 if many else 64)
        tiling = WindowTiling(train.n_sites, min(window, train.n_sites))
        settings = CodebookSettings(
            codes=max(2, min(params.codes or (128 if many else 64), n // 4)),
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
            cut = torch.from_numpy(tiling.cut(fitting, range(tiling.n_windows))).to(ctx.device)
            ctx.progress(0.0, f"codebooks of {tiling.n_windows} windows")
            generator = cpu_generator(ctx.seed_for("vae", "codebooks"))
            books = fit_codebooks(cut, settings, generator)
            del cut
            shape = _shape(params, tiling, settings.codes, populations)
            generator = cpu_generator(ctx.seed_for("vae", "weights"))
            on_cpu = Codebooks(books.logits.cpu(), books.log_weights.cpu())
            model = WindowPrior(shape, on_cpu, generator, params.dropout).to(ctx.device)

            def report(epoch: int, loss: float) -> None:
                ctx.progress(
                    _CODEBOOK_SHARE + (1 - _CODEBOOK_SHARE) * (epoch + 1) / params.epochs,
                    f"epoch {epoch + 1} of {params.epochs}: validation loss {loss:.2f} nats",
                )

            history = train_prior(model, books, tiling, data, params, ctx, report)
        if ctx.group.rank == 0:
            _write_history(ctx.artifacts / "training.json", history)
        return FittedVAE(params, tiling, populations, train.ploidy, model)

    def load(self, directory: Path, ctx: RunContext) -> FittedVAE:
        """Read what `FittedVAE.save` wrote.

        Raises BenchError if the folder isn't such a model.
        """
        path = directory / "model.json"
        try:
            head = json.loads(path.read_text())
            if head["format"] != _FORMAT:
                raise BenchError(f"{path}: format {head['format']}, expected {_FORMAT}")
            params = VAEParams.model_validate(head["params"])
            tiling = WindowTiling(head["n_sites"], head["width"])
            populations = Populations(**{k: tuple(v) for k, v in head["populations"].items()})
            shape = _shape(params, tiling, head["codes"], populations)
            blank = Codebooks(
                torch.zeros(shape.n_windows, shape.codes, shape.sites),
                torch.zeros(shape.n_windows, shape.codes),
            )
            model = WindowPrior(shape, blank, cpu_generator(0))
            model.load_state_dict(load_file(directory / "model.safetensors"))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise BenchError(f"{directory}: not a saved vae model: {error}") from None
        model = model.eval().to(ctx.device)
        return FittedVAE(params, tiling, populations, head["ploidy"], model)


@dataclass(frozen=True, eq=False)
class FittedVAE:
    """Trained codebooks, prior and decoder.

    Attributes
    ----------
    params : VAEParams
    tiling : WindowTiling
    populations : Populations
    ploidy : int
    model : WindowPrior
    """

    params: VAEParams
    tiling: WindowTiling
    populations: Populations
    ploidy: int
    model: WindowPrior = field(repr=False)

    def sample(self, request: SampleRequest, ctx: RunContext) -> Iterator[NDArray[np.int8]]:
        """Yield (batch, n_sites) int8; the labels asked for may be superpopulations, too.

        Where no populations are asked for, each person's is drawn by its share of the
        training people.
        """
        with reproducible(ctx.threads):
            sampler = BlockSampler(self.model, _BLOCK, self.params.temperature)
        done = 0
        for block, wanted, into in request.blocks(_BLOCK):
            labels = None if request.populations is None else request.populations[into]
            with reproducible(ctx.threads):
                rows = self._block(sampler, block, wanted, labels, ctx)[wanted]
            for first in range(0, len(rows), request.batch_size):
                yield rows[first : first + request.batch_size]
            done += len(rows)
            ctx.progress(done / request.n_haplotypes, f"{done} haplotypes")

    def save(self, directory: Path) -> None:
        """Write `model.json` and `model.safetensors`."""
        state = {name: value.cpu().contiguous() for name, value in self.model.state_dict().items()}
        save_file(state, directory / "model.safetensors")
        head = {
            "format": _FORMAT,
            "n_sites": self.tiling.n_sites,
            "width": self.tiling.width,
            "codes": self.model.shape.codes,
            "ploidy": self.ploidy,
            "populations": asdict(self.populations),
            "params": self.params.model_dump(),
        }
        (directory / "model.json").write_text(json.dumps(head, indent=1) + "\n")

    def _block(
        self,
        sampler: BlockSampler,
        block: int,
        wanted: slice,
        labels: NDArray[np.str_] | None,
        ctx: RunContext,
    ) -> NDArray[np.int8]:
        """One whole block (_BLOCK, n_sites) int8; rows nobody wants are of any population."""
        people = ctx.rng("vae", "people", block).random(-(-_BLOCK // self.ploidy))
        level = np.repeat(people, self.ploidy)[:_BLOCK]
        population = self.populations.draw(None, level)
        if labels is not None:
            population[wanted] = self.populations.draw(labels, level[wanted])
        rng = ctx.rng("vae", "sample", block)
        windows, sites = self.model.shape.n_windows, self.model.shape.sites
        code_levels = rng.random((windows, _BLOCK), np.float32)
        allele_levels = rng.random((windows, _BLOCK, sites), np.float32)
        cut = sampler.draw(population, code_levels, allele_levels)
        return self.tiling.join(cut, range(windows))


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


def _write_history(path: Path, history: PriorHistory) -> None:
    """Validation losses of every epoch, and which was kept."""
    record = {
        "best_epoch": history.best_epoch,
        "validation_code_loss_nats": history.code_loss,
        "validation_allele_loss_nats": history.allele_loss,
    }
    path.write_text(json.dumps(record) + "\n")
