"""Kernels of the copying model: classes of equal haplotypes, and forward-backward over them.

`imputers.CopyingModel` is their face. All compiled functions live in this one module, because
numba's disk cache notices a change of the file that a function is in, but not of a function it
calls elsewhere.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, overload, register_model
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from haplobench.kernels import compiled

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]

LANES = 16
"""Haplotypes imputed side by side: every step is one operation on so many numbers in a row."""
# What a block costs: passes over all haplotypes at its ends, and over its classes at each knot.
_PER_HAPLOTYPE, _PER_CLASS = 6, 8


class Classes(NamedTuple):
    """Haplotypes of a panel, cut along the region into blocks of classes that are equal there.

    Block b goes from knot `first[b]` to knot `first[b + 1]`; classes are equal at all sites
    after the former up to the latter, the first block's at its first site, too.

    Attributes
    ----------
    first : (n_blocks + 1,) int64
        Knots at which blocks begin; the last knot ends the last block.
    of : (n_blocks, n_haplotypes) int32
        Class of each haplotype.
    size : (n_blocks,) int64
        Classes of each block.
    members : (n_blocks, most classes) float32
        Haplotypes of each class.
    alleles : (sum over sites of their block's classes,) uint8
        Allele of each class at each site, site after site.
    at : (n_sites,) int64
        Where a site's alleles begin.
    """

    first: Counts
    of: NDArray[np.int32]
    size: Counts
    members: Floats
    alleles: NDArray[np.uint8]
    at: Counts


class Knots(NamedTuple):
    """Sites at which the model has its states: typed ones, and both ends of the region.

    Attributes
    ----------
    sites : (n_knots,) int64
        Index of each among all sites, increasing.
    typed : (n_knots,) int64
        Its index among typed sites; -1 for an end that isn't typed.
    switch : (n_knots,) float64
        Probability that copying starts afresh on the way from the knot before; 0 at the first.
    before, after : (n_sites,) float64
        The same from the knot before a site to it, and from it to the knot after.
    """

    sites: Counts
    typed: Counts
    switch: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]


class Forward(NamedTuple):
    """Work space: forward probabilities of a block's classes.

    A member's at a knot is `kept` times its own at the block's first knot, plus `fresh`, divided by
    the knot's sum over all haplotypes.

    Attributes
    ----------
    inside : (classes, LANES) float32
        Sum over each class's members at the block's first knot.
    kept, fresh : (knots of a block, classes, LANES) float32
    totals : (knots of a block, LANES) float32
    emission : (2, LANES) float32
    """

    inside: Floats
    kept: Floats
    fresh: Floats
    totals: Floats
    emission: Floats


class Posterior(NamedTuple):
    """Work space: backward probabilities of a block's classes, and their products with forward's.

    A member's at a knot is `kept` times its own at the block's last knot, plus `fresh`. All are
    (classes, LANES) float32.

    Attributes
    ----------
    inside, product :
        Sum over each class's members of their own at the last knot, and of that times the forward
        one at the first.
    both, forward, backward :
        Between two knots, sums over each class's members of the forward probability at the one
        times the backward one at the other, and of each alone.
    """

    kept: Floats
    fresh: Floats
    inside: Floats
    product: Floats
    both: Floats
    forward: Floats
    backward: Floats


class Work(NamedTuple):
    """Work space of `impute`.

    Attributes
    ----------
    far : (groups of blocks, n_haplotypes, LANES) float32
        Forward probabilities where each group of blocks begins.
    near : (blocks of a group + 1, n_haplotypes, LANES) float32
        The same at each block of one group, computed anew on the way back.
    state : (n_haplotypes, LANES) float32
        Backward probabilities.
    """

    far: Floats
    near: Floats
    state: Floats
    forward: Forward
    posterior: Posterior


@compiled
def refine(alleles: NDArray[np.uint8], start: int, stop: int, of: NDArray[np.int32], n: int) -> int:
    """Split `n` classes by the alleles at sites `start` to `stop` - 1; how many there are then.

    `alleles` (n_sites, n_haplotypes) uint8; `of` (n_haplotypes,) int32 is changed in place, classes
    numbered as they are first met.
    """
    table = np.empty(2 * of.size, np.int32)
    for site in range(start, stop):
        table[: 2 * n] = -1
        n = 0
        row = alleles[site]
        for h in range(of.size):
            key = 2 * of[h] + row[h]
            if table[key] < 0:
                table[key] = n
                n += 1
            of[h] = table[key]
    return n


@compiled
def cut_block(
    alleles: NDArray[np.uint8], sites: Counts, first: int, of: NDArray[np.int32]
) -> tuple[int, int]:
    """The block that begins at knot `first`: its last knot, and how many classes it has.

    It grows while that makes its cost per knot smaller. `of` (n_haplotypes,) int32 is filled.
    """
    of[:] = 0
    n = 1
    begin = sites[first] + (1 if first else 0)
    n = refine(alleles, begin, sites[first + 1] + 1, of, n)
    cost = float(_PER_HAPLOTYPE * of.size + _PER_CLASS * n)
    last = first + 1
    longer = of.copy()
    while last + 1 < sites.size:
        more = refine(alleles, sites[last] + 1, sites[last + 1] + 1, longer, n)
        knots = last + 1 - first
        per_knot = _PER_HAPLOTYPE * of.size / knots + _PER_CLASS * more
        if per_knot > cost:
            break
        of[:] = longer
        n, cost = more, per_knot
        last += 1
    return last, n


class _LanesType(types.Type):
    """LANES float32 side by side, one value for numba and one vector for the machine."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_LANES_TYPE = _LanesType()
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = make_array(signature.args[0])(context, builder, arguments[0])
    offset = builder.mul(arguments[1], ir.Constant(arguments[1].type, LANES))
    return builder.bitcast(builder.gep(array.data, [offset]), _VECTOR.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def _load(_typing: Any, rows: Any, i: Any) -> Any:
    """Row i of a contiguous (n, LANES) float32 array; i isn't checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, arguments), align=4)

    return _LANES_TYPE(rows, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _store(_typing: Any, rows: Any, i: Any, value: Any) -> Any:
    """Write row i of a contiguous (n, LANES) float32 array; i isn't checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(context, builder, signature, arguments[:2]), align=4)
        return context.get_dummy_value()

    return types.void(rows, types.intp, value), generate


@intrinsic  # type: ignore[untyped-decorator]
def _fill(_typing: Any, value: Any) -> Any:
    """The same number in all lanes."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        one = builder.insert_element(
            ir.Constant(_VECTOR, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0)
        )
        places = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), places)

    return _LANES_TYPE(types.float32), generate


def _define(symbol: Any, instruction: str) -> None:
    """Let `symbol` of two Lanes be a machine instruction, lane by lane."""

    @intrinsic  # type: ignore[untyped-decorator]
    def operate(_typing: Any, _left: Any, _right: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            # A product and a sum may be one operation where the machine has it.
            return getattr(builder, instruction)(*arguments, flags=("contract",))

        return _LANES_TYPE(_LANES_TYPE, _LANES_TYPE), generate

    def implementation(left: Any, right: Any) -> Any:
        if left == right == _LANES_TYPE:
            return lambda left, right: operate(left, right)
        return None

    overload(symbol, strict=False)(implementation)


_define(operator.add, "fadd")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")


@compiled
def _emit(typed: int, observed: NDArray[np.int8], error: float, out: Floats) -> None:
    """`out` (2, LANES): probability of what is seen, by the copied allele; 1 where nothing is."""
    for t in range(LANES):
        seen = -1 if typed < 0 else observed[typed, t]
        for allele in range(2):
            out[allele, t] = 1 if seen < 0 else 1 - error if seen == allele else error


@compiled
def _forward(
    classes: Classes,
    knots: Knots,
    block: int,
    observed: NDArray[np.int8],
    error: float,
    state: Floats,
    work: Forward,
) -> None:
    """Forward probabilities of a block's classes at each of its knots, into `work`.

    `state` (n_haplotypes, LANES): forward probabilities at the block's first knot.
    """
    size, of, members = classes.size[block], classes.of[block], classes.members[block]
    n = of.size
    inside, emission = work.inside, work.emission
    one, zero = _fill(np.float32(1)), _fill(np.float32(0))
    for u in range(size):
        _store(inside, u, zero)
        _store(work.kept[0], u, one)
        _store(work.fresh[0], u, zero)
    for h in range(n):
        _store(inside, of[h], _load(inside, of[h]) + _load(state, h))
    total = zero
    for u in range(size):
        total = total + _load(inside, u)
    _store(work.totals, 0, total)
    for k in range(classes.first[block] + 1, classes.first[block + 1] + 1):
        i = k - classes.first[block]
        kept, fresh = work.kept[i], work.fresh[i]
        kept_before, fresh_before = work.kept[i - 1], work.fresh[i - 1]
        _emit(knots.typed[k], observed, error, emission)
        keep = _fill(np.float32(1 - knots.switch[k])) / total
        renew = _fill(np.float32(knots.switch[k] / n))
        stay = keep * _load(emission, 0), keep * _load(emission, 1)
        start = renew * _load(emission, 0), renew * _load(emission, 1)
        total = zero
        row = classes.alleles[classes.at[knots.sites[k]] :]
        for u in range(size):
            a = row[u]
            x = _load(kept_before, u) * stay[a]
            y = _load(fresh_before, u) * stay[a] + start[a]
            _store(kept, u, x)
            _store(fresh, u, y)
            total = total + x * _load(inside, u) + _fill(members[u]) * y
        _store(work.totals, i, total)


@compiled
def _advance(classes: Classes, block: int, work: Forward, state: Floats, out: Floats) -> None:
    """`out` (n_haplotypes, LANES): forward probabilities at the block's last knot, of sum 1."""
    i = classes.first[block + 1] - classes.first[block]
    of = classes.of[block]
    kept, fresh = work.kept[i], work.fresh[i]
    scale = _fill(np.float32(1)) / _load(work.totals, i)
    for u in range(classes.size[block]):
        _store(kept, u, _load(kept, u) * scale)
        _store(fresh, u, _load(fresh, u) * scale)
    for h in range(of.size):
        c = of[h]
        _store(out, h, _load(kept, c) * _load(state, h) + _load(fresh, c))


@compiled
def _start(
    classes: Classes, knots: Knots, observed: NDArray[np.int8], error: float, state: Floats
) -> None:
    """Forward probabilities at the first knot: every haplotype alike, then what is seen there."""
    of, emission = classes.of[0], np.empty((2, LANES), np.float32)
    _emit(knots.typed[0], observed, error, emission)
    row = classes.alleles[classes.at[knots.sites[0]] :]
    total = _fill(np.float32(0))
    for h in range(of.size):
        total = total + _load(emission, row[of[h]])
    for h in range(of.size):
        _store(state, h, _load(emission, row[of[h]]) / total)


@compiled
def _mix(
    classes: Classes,
    block: int,
    site: int,
    before: float,
    after: float,
    posterior: Posterior,
    whole: Any,
    dosages: Floats,
) -> None:
    """Probability of the alternate allele at a site between two knots.

    `before`, `after`: probability of a switch from the knot before, and to the one after.
    """
    size, members, n = classes.size[block], classes.members[block], classes.of.shape[1]
    row = classes.alleles[classes.at[site] :]
    carriers = np.float32(0)
    for u in range(size):
        if row[u]:
            carriers += members[u]
    # The rarer allele's carriers are the shorter sum.
    rarer = 1 if 2 * carriers <= n else 0
    if not rarer:
        carriers = n - carriers
    neither = left = right = _fill(np.float32(0))
    for u in range(size):
        if row[u] == rarer:
            neither = neither + _load(posterior.both, u)
            left = left + _load(posterior.forward, u)
            right = right + _load(posterior.backward, u)
    stay = _fill(np.float32((1 - before) * (1 - after)))
    from_left = np.float32((1 - before) * after / n)
    from_right = np.float32(before * (1 - after) / n)
    anew = np.float32(before * after / n / n)
    share = (
        stay * neither
        + _fill(from_left) * left
        + _fill(from_right) * right
        + _fill(np.float32(anew * carriers))
    ) / (stay * whole + _fill(np.float32(from_left + from_right + anew * n)))
    if not rarer:
        share = _fill(np.float32(1)) + _fill(np.float32(-1)) * share
    _store(dosages, site, share)


@compiled
def _backward(
    classes: Classes,
    knots: Knots,
    block: int,
    observed: NDArray[np.int8],
    error: float,
    start: Floats,
    state: Floats,
    work: Forward,
    posterior: Posterior,
    dosages: Floats,
) -> None:
    """Backward through a block whose `_forward` is in `work`, imputing on the way.

    `start` and `state` (n_haplotypes, LANES): forward probabilities at the first knot, and backward
    ones at the last; these become those at the first.
    """
    size, of, members = classes.size[block], classes.of[block], classes.members[block]
    n = of.size
    kept, fresh, inside = posterior.kept, posterior.fresh, posterior.inside
    one, zero = _fill(np.float32(1)), _fill(np.float32(0))
    for u in range(size):
        _store(inside, u, zero)
        _store(posterior.product, u, zero)
        _store(kept, u, one)
        _store(fresh, u, zero)
    for h in range(n):
        c, g = of[h], _load(state, h)
        _store(inside, c, _load(inside, c) + g)
        _store(posterior.product, c, _load(posterior.product, c) + g * _load(start, h))
    for k in range(classes.first[block + 1], classes.first[block], -1):
        i = k - 1 - classes.first[block]
        _emit(knots.typed[k], observed, error, work.emission)
        emission = _load(work.emission, 0), _load(work.emission, 1)
        row = classes.alleles[classes.at[knots.sites[k]] :]
        total = zero
        for u in range(size):
            x, y = _load(kept, u) * emission[row[u]], _load(fresh, u) * emission[row[u]]
            _store(kept, u, x)
            _store(fresh, u, y)
            total = total + x * _load(inside, u) + _fill(members[u]) * y
        scale = one / total
        keep = _fill(np.float32(1 - knots.switch[k]))
        renew = _fill(np.float32(knots.switch[k] / n))
        # An end that isn't typed is imputed with the sites beside it.
        first = knots.sites[k - 1] + (1 if k > 1 or knots.typed[0] >= 0 else 0)
        last = knots.sites[k] + (1 if k == knots.sites.size - 1 and knots.typed[k] < 0 else 0)
        kept_forward, fresh_forward = work.kept[i], work.fresh[i]
        scale_forward = one / _load(work.totals, i)
        whole = zero
        for u in range(size):
            x, y = _load(kept, u) * scale, _load(fresh, u) * scale
            if last > first:
                v = _load(kept_forward, u) * scale_forward
                w = _load(fresh_forward, u) * scale_forward
                m, f, b = _fill(members[u]), _load(work.inside, u), _load(inside, u)
                both = v * (x * _load(posterior.product, u) + y * f) + w * (x * b + m * y)
                whole = whole + both
                _store(posterior.both, u, both)
                _store(posterior.forward, u, v * f + m * w)
                _store(posterior.backward, u, x * b + m * y)
            _store(kept, u, x * keep)
            _store(fresh, u, y * keep + renew)
        for site in range(first, last):
            _mix(
                classes, block, site, knots.before[site], knots.after[site], posterior, whole,
                dosages,
            )  # fmt: skip
    for h in range(n):
        c = of[h]
        _store(state, h, _load(kept, c) * _load(state, h) + _load(fresh, c))


@compiled
def impute(
    classes: Classes,
    knots: Knots,
    observed: NDArray[np.int8],
    error: float,
    work: Work,
    dosages: Floats,
) -> None:
    """Probability of the alternate allele at sites that aren't typed, of LANES haplotypes.

    `observed` (n_typed, LANES) int8: 0, 1 or -1; `dosages` (n_sites, LANES) float32 is written at
    sites that aren't typed.
    """
    n_blocks, n = classes.of.shape
    near, far = work.near, work.far
    step = near.shape[0] - 1
    _start(classes, knots, observed, error, far[0])
    for block in range((n_blocks - 1) // step * step):
        source = far[block // step] if block % step == 0 else near[block % step]
        _forward(classes, knots, block, observed, error, source, work.forward)
        to = far[block // step + 1] if (block + 1) % step == 0 else near[block % step + 1]
        _advance(classes, block, work.forward, source, to)
    state = work.state
    state[:] = np.float32(1 / n)
    for group in range((n_blocks - 1) // step, -1, -1):
        near[0] = far[group]
        last = min(n_blocks, (group + 1) * step)
        for block in range(group * step, last - 1):
            i = block - group * step
            _forward(classes, knots, block, observed, error, near[i], work.forward)
            _advance(classes, block, work.forward, near[i], near[i + 1])
        for block in range(last - 1, group * step - 1, -1):
            start = near[block - group * step]
            _forward(classes, knots, block, observed, error, start, work.forward)
            _backward(
                classes, knots, block, observed, error, start, state, work.forward,
                work.posterior, dosages,
            )  # fmt: skip
