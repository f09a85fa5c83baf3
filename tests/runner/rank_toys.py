"""A generator made for several ranks, as the source of a toy plugin."""

RANKS = '''
"""Allele frequencies, summed over ranks; may misbehave on one of them."""
import json
import os
import signal
import time
import numpy as np
from haplobench import GeneratorSpec, Params, hookimpl
from haplobench.distributed.group import shard


class SharedParams(Params):
    misbehave: str = ""
    rank: int = 1
    memory: int = 0


class Fitted:
    def __init__(self, frequencies):
        self.frequencies = frequencies

    def save(self, directory):
        np.save(directory / "frequencies.npy", self.frequencies)

    def sample(self, request, ctx):
        assert ctx.group.size == 1
        rows = np.empty((request.n_haplotypes, self.frequencies.size), np.int8)
        for block, kept, filled in request.blocks(8):
            draws = ctx.rng("sample", block).random((8, self.frequencies.size))
            rows[filled] = (draws[kept] < self.frequencies).astype(np.int8)
        for start in range(0, len(rows), request.batch_size):
            yield rows[start : start + request.batch_size]


class Shared:
    def fit(self, train, params, ctx):
        rank, size = ctx.group.rank, ctx.group.size
        hoard = np.ones(params.memory, np.uint8)
        if params.memory:
            time.sleep(60)
        begun = 0
        progress = ctx.checkpoint / "progress.json"
        if progress.is_file():
            begun = json.loads(progress.read_text())["step"]
        counts = np.zeros(train.n_sites, np.int64)
        for step in range(begun, 4):
            rows = train.haplotypes[shard(train.n_haplotypes, rank, size)]
            counts = ctx.group.all_reduce(rows.sum(axis=0, dtype=np.int64))
            if rank == 0:
                progress.with_suffix(".new").write_text(json.dumps({"step": step + 1}))
                progress.with_suffix(".new").replace(progress)
            ctx.group.barrier()
            if step == 2 and rank == params.rank:
                misbehave(params, begun)
        if rank == 0:
            (ctx.artifacts / "begun.txt").write_text(str(begun))
        return Fitted(counts / train.n_haplotypes)

    def load(self, directory, ctx):
        return Fitted(np.load(directory / "frequencies.npy"))


def misbehave(params, begun):
    how = params.misbehave
    if how == "kill" or (how == "kill once" and begun == 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise ZeroDivisionError("boom in one rank")
    if how == "leave":
        os._exit(3)
    if how == "hang":
        linger()


def linger():
    while True:
        time.sleep(0.05)


@hookimpl
def haplobench_generators():
    return [
        GeneratorSpec(
            name="shared", version="1", target="toy_ranks:Shared", summary="Toy.",
            params=SharedParams, distributed=True,
        )
    ]
'''
