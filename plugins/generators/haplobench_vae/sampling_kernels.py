"""Compiled code of sampling on the CPU, whose products of matrices are of integers of 16 bits.

They take half the time of products of float32, and their sums are exact: the same on every machine,
in whatever blocks they are taken. Integers come in pairs of neighbours along the axis that is
summed over, two of them in an int32. One factor has rows, whose pairs lie side by side, (rows,
pairs); the other has lanes, (pairs, lanes), whose numbers of one pair do. Rows are filled up to a
multiple of 4 and lanes to one of 32.

Arrays are float32 or pairs, and contiguous, where nothing else is said; n is the number of
haplotypes, filled up. All these functions live in this one module, because numba's disk cache
notices a change of the file that a function is in, but not of a function it calls elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from haplobench.kernels import compiled

# Without checks for a divisor of 0, loops are ones of vector instructions.
_jit = partial(compiled, error_model="numpy")
Reals = NDArray[np.float32]
Pairs = NDArray[np.int32]
Codes = NDArray[np.int64]
ROWS, LANES = 4, 32
_VECTOR = 16
_INT = ir.IntType(32)
_SHORT = ir.IntType(16)
_FLOAT = ir.FloatType()
# Instructions of x86 by the feature they need, and the pairs that each multiplies.
_INSTRUCTIONS = {
    "+avx512bw": ("llvm.x86.avx512.pmaddw.d.512", 16),
    "+avx2": ("llvm.x86.avx2.pmadd.wd", 8),
    "+sse2": ("llvm.x86.sse2.pmadd.wd", 4),
}
# No product of two numbers is greater in their sum, whatever the weights: see `sampling_compiled`.
_MOST = np.float32(32_500)
_LEAST = -32_767.0
_ONE, _HALF = np.float32(1), np.float32(0.5)
_LOWEST, _HIGHEST = np.float32(-126), np.float32(128.4)
# Of numpy's SFC64, and to make floats of the upper 24 of 32 bits.
_11, _3, _24, _40 = (np.uint64(bits) for bits in (11, 3, 24, 40))
_8, _SMALL = np.uint32(8), np.float32(2**-24)


def _vector(of: Any, length: int = _VECTOR) -> Any:
    return ir.VectorType(of, length)


def _picked(builder: Any, first: Any, second: Any, places: Any) -> Any:
    return builder.shuffle_vector(first, second, ir.Constant(_vector(_INT, len(places)), places))


def _multiplied(context: Any, builder: Any, first: Any, second: Any) -> Any:
    """Sum of both products of each of 16 pairs: vectors of int32."""
    features = context.codegen().magic_tuple()[2].split(",")
    found = [call for feature, call in _INSTRUCTIONS.items() if feature in features]
    if not found:
        bits = ir.Constant(_vector(_INT), [16] * _VECTOR)
        high = [builder.ashr(pairs, bits) for pairs in (first, second)]
        low = [builder.ashr(builder.shl(pairs, bits), bits) for pairs in (first, second)]
        return builder.add(builder.mul(*low), builder.mul(*high))
    name, size = found[0]
    shorts = _vector(_SHORT, 2 * size)
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(_vector(_INT, size), [shorts, shorts]), name
    )
    pieces = []
    for start in range(0, _VECTOR, size):
        places = list(range(start, start + size))
        piece = [_picked(builder, pairs, pairs, places) for pairs in (first, second)]
        pieces.append(builder.call(function, [builder.bitcast(part, shorts) for part in piece]))
    while len(pieces) > 1:
        size *= 2
        joined = zip(pieces[::2], pieces[1::2], strict=True)
        pieces = [_picked(builder, a, b, list(range(size))) for a, b in joined]
    return pieces[0]


def _summed(
    context: Any, builder: Any, count: Any, size: int, terms: Callable[[Any], list[tuple[Any, Any]]]
) -> list[Any]:
    """Sums of products over k = 0 … `count` - 1 (1 at least), all kept in registers.

    `terms` of k are the factors of each of the `size` sums.
    """
    before = builder.block
    body, after = (builder.append_basic_block(name) for name in ("pair", "pairs_done"))
    builder.branch(body)
    builder.position_at_end(body)
    k = builder.phi(count.type)
    k.add_incoming(ir.Constant(count.type, 0), before)
    sums = [builder.phi(_vector(_INT)) for _ in range(size)]
    added = [
        builder.add(total, _multiplied(context, builder, *factors))
        for total, factors in zip(sums, terms(k), strict=True)
    ]
    following = builder.add(k, ir.Constant(count.type, 1))
    k.add_incoming(following, body)
    for total, value in zip(sums, added, strict=True):
        total.add_incoming(ir.Constant(_vector(_INT), [0] * _VECTOR), before)
        total.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", following, count), body, after)
    builder.position_at_end(after)
    return added


class _Matrix:
    """A contiguous array of int32 of two axes, as the code that is being made sees it."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self._builder = builder
        array = context.make_array(kind)(context, builder, value)
        self._data = array.data
        self.width = builder.extract_value(array.shape, 1)

    def place(self, row: Any, column: Any) -> Any:
        """Where an item is."""
        return self._builder.gep(
            self._data, [self._builder.add(self._builder.mul(row, self.width), column)]
        )

    def vectors(self, row: Any, column: Any) -> list[Any]:
        """Where 32 items from a column on are: two vectors."""
        return [
            self._builder.bitcast(
                self.place(row, self._builder.add(column, ir.Constant(column.type, lane))),
                _vector(_INT).as_pointer(),
            )
            for lane in range(0, LANES, _VECTOR)
        ]

    def read(self, row: Any, column: Any) -> list[Any]:
        return [self._builder.load(place, align=4) for place in self.vectors(row, column)]

    def write(self, row: Any, column: Any, values: list[Any]) -> None:
        for place, value in zip(self.vectors(row, column), values, strict=True):
            self._builder.store(value, place, align=4)


@intrinsic  # type: ignore[untyped-decorator]
def _tile(typing: Any, rows: Any, row: Any, lanes: Any, lane: Any, out: Any) -> Any:
    """Product of 4 rows from `row` on and 32 lanes from `lane` on, into `out` (4, lanes)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, target = (
            _Matrix(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 4)
        )
        first, column = arguments[1], arguments[3]
        numbers = [builder.add(first, ir.Constant(first.type, i)) for i in range(ROWS)]
        undefined = ir.Constant(_vector(_INT), ir.Undefined)

        def terms(k: Any) -> list[tuple[Any, Any]]:
            vectors = right.read(k, column)
            factors = []
            for number in numbers:
                pair = builder.load(left.place(number, k))
                pair = builder.insert_element(undefined, pair, ir.Constant(_INT, 0))
                everywhere = _picked(builder, pair, undefined, [0] * _VECTOR)
                factors += [(everywhere, vector) for vector in vectors]
            return factors

        sums = _summed(context, builder, left.width, ROWS * LANES // _VECTOR, terms)
        for i in range(ROWS):
            values = [sums.pop(0) for _ in range(LANES // _VECTOR)]
            target.write(ir.Constant(column.type, i), column, values)
        return context.get_dummy_value()

    return types.void(rows, row, lanes, lane, out), code


@intrinsic  # type: ignore[untyped-decorator]
def _dots(
    typing: Any,
    first: Any,
    first_row: Any,
    second: Any,
    second_row: Any,
    step: Any,
    count: Any,
    lane: Any,
    out: Any,
) -> Any:
    """Lane by lane, the product of `count` rows of pairs of each, into `out` (1, lanes).

    Those of `first` follow each other; those of `second` are `step` rows apart.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, target = (
            _Matrix(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 7)
        )
        _, left_row, _, right_row, by, n, column, _ = arguments

        def terms(k: Any) -> list[tuple[Any, Any]]:
            ours = left.read(builder.add(left_row, k), column)
            theirs = right.read(builder.add(right_row, builder.mul(k, by)), column)
            return list(zip(ours, theirs, strict=True))

        sums = _summed(context, builder, n, LANES // _VECTOR, terms)
        target.write(ir.Constant(column.type, 0), column, sums)
        return context.get_dummy_value()

    return types.void(first, first_row, second, second_row, step, count, lane, out), code


@intrinsic  # type: ignore[untyped-decorator]
def _rounded(typing: Any, value: Any) -> Any:
    """The nearest int32 of a float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rint = builder.module.declare_intrinsic("llvm.rint", [_FLOAT])
        return builder.fptosi(builder.call(rint, [arguments[0]]), _INT)

    return types.int32(types.float32), code


@intrinsic  # type: ignore[untyped-decorator]
def _paired(typing: Any, low: Any, high: Any) -> Any:
    """Both, of which the lower 16 bits count, in one int32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lower = builder.and_(arguments[0], ir.Constant(_INT, 0xFFFF))
        return builder.or_(lower, builder.shl(arguments[1], ir.Constant(_INT, 16)))

    return types.int32(types.int32, types.int32), code


@intrinsic  # type: ignore[untyped-decorator]
def _power_of_two(typing: Any, exponent: Any) -> Any:
    """2 to the power of a whole float32, -126 to 128 (infinity)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        biased = builder.add(builder.fptosi(arguments[0], _INT), ir.Constant(_INT, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(_INT, 23)), _FLOAT)

    return types.float32(types.float32), code


@_jit
def exp2(x: Any) -> Any:
    """2^x to 3e-7 of itself; 2^-126 below -126, infinity from 127.5 on."""
    x = min(max(x, _LOWEST), _HIGHEST)
    k = np.floor(x + _HALF)
    r = x - k
    # 2^r at Chebyshev's nodes in [-1/2, 1/2].
    p = np.float32(1.339086336e-3)
    p = p * r + np.float32(9.676031918e-3)
    p = p * r + np.float32(5.550357114e-2)
    p = p * r + np.float32(2.402210749e-1)
    p = p * r + np.float32(6.931471880e-1)
    return (p * r + _ONE) * _power_of_two(k)


@_jit
def fill_levels(state: NDArray[np.uint64], out: Reals) -> None:
    """Uniform levels in [0, 1) as numpy's SFC64 (Doty-Humphrey 2013) of this state (4,) gives them.

    `out` is of one axis; of an odd number, the last 32 bits are lost.
    """
    a, b, c, counter = state[0], state[1], state[2], state[3]
    words = np.empty((out.size + 1) // 2, np.uint64)
    for i in range(words.size):
        word = a + b + counter
        counter += np.uint64(1)
        a = b ^ (b >> _11)
        b = c + (c << _3)
        c = ((c << _24) | (c >> _40)) + word
        words[i] = word
    state[0], state[1], state[2], state[3] = a, b, c, counter
    halves = words.view(np.uint32)
    for i in range(out.size):
        out[i] = np.float32(np.int32(halves[i] >> _8)) * _SMALL


@_jit
def multiply(rows: Pairs, row: int, lanes: Pairs, out: Pairs) -> None:
    """Product of 4 rows from `row` on and all lanes, into `out` (4, lanes)."""
    for lane in range(0, lanes.shape[1], LANES):
        _tile(rows, row, lanes, lane, out)


@_jit
def normalise(hidden: Reals, bias: Reals, scale: float, out: Pairs) -> None:
    """Add `bias` (dimension,) to `hidden` (dimension, n), and its normal form into `out`.

    Mean 0 and variance 1, times `scale`; gain and shift of the layer norm are the next product's.
    """
    dimension, n = hidden.shape
    mean, spread = np.zeros(n, np.float32), np.zeros(n, np.float32)
    share, factor = np.float32(1 / dimension), np.float32(scale)
    for c in range(dimension):
        constant = bias[c]
        for i in range(n):
            hidden[c, i] += constant
            mean[i] += hidden[c, i]
    for i in range(n):
        mean[i] *= share
    for c in range(dimension):
        for i in range(n):
            away = hidden[c, i] - mean[i]
            spread[i] += away * away
    for i in range(n):
        spread[i] = factor / np.sqrt(spread[i] * share + np.float32(1e-5))
    for c in range(0, dimension - 1, 2):
        for i in range(n):
            out[c // 2, i] = _paired(
                _rounded((hidden[c, i] - mean[i]) * spread[i]),
                _rounded((hidden[c + 1, i] - mean[i]) * spread[i]),
            )
    if dimension % 2:
        c = dimension - 1
        for i in range(n):
            out[c // 2, i] = _paired(_rounded((hidden[c, i] - mean[i]) * spread[i]), np.int32(0))


@_jit
def _pairs_of(
    rows: Pairs,
    by: Reals,
    shift: Reals,
    least: float,
    lanes: Pairs,
    out: Pairs,
    first: int,
    sums: Pairs,
) -> None:
    """Products of `rows` and `lanes` as pairs of rows, from row `first` of `out` on.

    Each row's product times `by`, with `shift` added, and `least` at the least.
    """
    floor = np.float32(least)
    for row in range(0, rows.shape[0], ROWS):
        multiply(rows, row, lanes, sums)
        for k in range(0, ROWS, 2):
            to, r = first + (row + k) // 2, row + k
            by_0, by_1, shift_0, shift_1 = by[r], by[r + 1], shift[r], shift[r + 1]
            for i in range(lanes.shape[1]):
                low = max(np.float32(sums[k, i]) * by_0 + shift_0, floor)
                high = max(np.float32(sums[k + 1, i]) * by_1 + shift_1, floor)
                out[to, i] = _paired(_rounded(low), _rounded(high))


@_jit
def _add_product(rows: Pairs, by: Reals, lanes: Pairs, out: Reals, sums: Pairs) -> None:
    """Add the product of `rows`, times `by`, and `lanes` to `out`, which may have fewer rows."""
    for row in range(0, rows.shape[0], ROWS):
        multiply(rows, row, lanes, sums)
        for k in range(min(ROWS, out.shape[0] - row)):
            factor = by[row + k]
            for i in range(lanes.shape[1]):
                out[row + k, i] += np.float32(sums[k, i]) * factor


@_jit
def attention(
    hidden: Reals,
    added: Reals,
    scale: float,
    normal: Pairs,
    query_rows: Pairs,
    query_by: Reals,
    query_shift: Reals,
    key_rows: Pairs,
    key_by: Reals,
    value_rows: Pairs,
    value_by: Reals,
    merge_rows: Pairs,
    merge_by: Reals,
    far: Reals,
    score_by: Reals,
    keys: Pairs,
    values: Pairs,
    latest: int,
    count: int,
    query: Pairs,
    attended: Pairs,
    scores: Reals,
    weights: Pairs,
    sums: Pairs,
) -> None:
    """Add to `hidden` (dimension, n), which lacks `added` (dimension,), what attention gives.

    `normal`, `query`, `attended`, `scores`, `weights` and `sums` are for what comes in between.
    `keys` (ring x pairs, n) and `values` (ring / 2 x rows, n) are rings, whose latest place is
    filled here and of which the first `count` are. Values are paired with those of the place
    beside. `far` (heads, reach): biases of distances; `score_by` (heads,): of scores.
    """
    normalise(hidden, added, scale, normal)
    n, heads = hidden.shape[1], far.shape[0]
    _pairs_of(query_rows, query_by, query_shift, _LEAST, normal, query, 0, sums)
    start = latest * query.shape[0]
    _pairs_of(key_rows, key_by, np.zeros_like(key_by), _LEAST, normal, keys, start, sums)
    height = value_rows.shape[0]
    start = latest // 2 * height
    for row in range(0, height, ROWS):
        multiply(value_rows, row, normal, sums)
        for k in range(ROWS):
            factor, to = value_by[row + k], start + row + k
            if latest % 2:
                for i in range(n):
                    value = _rounded(np.float32(sums[k, i]) * factor)
                    values[to, i] = _paired(values[to, i], value)
            else:
                for i in range(n):
                    value = _rounded(np.float32(sums[k, i]) * factor)
                    values[to, i] = _paired(value, np.int32(values[to, i] >> 16))
    ring, deep, width = (
        keys.shape[0] // query.shape[0],
        query.shape[0] // heads,
        hidden.shape[0] // heads,
    )
    highest, total = np.empty(n, np.float32), np.empty(n, np.float32)
    for h in range(heads):
        factor = score_by[h]
        highest[:] = -np.inf
        for place in range(count):
            for lane in range(0, n, LANES):
                _dots(query, h * deep, keys, place * query.shape[0] + h * deep, 1, deep, lane, sums)
            bias = far[h, (latest - place) % ring]
            for i in range(n):
                scores[place, i] = np.float32(sums[0, i]) * factor + bias
                highest[i] = max(highest[i], scores[place, i])
        total[:] = 0
        for place in range(count):
            for i in range(n):
                scores[place, i] = exp2(scores[place, i] - highest[i])
                total[i] += scores[place, i]
        # As many as can be summed up; rounded, they have a sum of their own.
        for i in range(n):
            highest[i] = _MOST / total[i]
        total[:] = 0
        for place in range(0, count, 2):
            if place + 1 == count:
                scores[count] = 0
            for i in range(n):
                low = _rounded(scores[place, i] * highest[i])
                high = _rounded(scores[place + 1, i] * highest[i])
                total[i] += np.float32(low + high)
                weights[place // 2, i] = _paired(low, high)
        for i in range(n):
            total[i] = _ONE / total[i]
        for c in range(h * width, (h + 1) * width):
            for lane in range(0, n, LANES):
                _dots(weights, 0, values, c, height, (count + 1) // 2, lane, sums)
            if c % 2:
                for i in range(n):
                    mean = _rounded(np.float32(sums[0, i]) * total[i])
                    attended[c // 2, i] = _paired(attended[c // 2, i], mean)
            else:
                for i in range(n):
                    mean = _rounded(np.float32(sums[0, i]) * total[i])
                    attended[c // 2, i] = _paired(mean, np.int32(0))
    _add_product(merge_rows, merge_by, attended, hidden, sums)


@_jit
def feed_forward(
    hidden: Reals,
    added: Reals,
    scale: float,
    normal: Pairs,
    widen_rows: Pairs,
    widen_by: Reals,
    widen_shift: Reals,
    narrow_rows: Pairs,
    narrow_by: Reals,
    units: Pairs,
    sums: Pairs,
) -> None:
    """Add to `hidden` (dimension, n), which lacks `added`, what the feed-forward units give."""
    normalise(hidden, added, scale, normal)
    _pairs_of(widen_rows, widen_by, widen_shift, 0, normal, units, 0, sums)
    _add_product(narrow_rows, narrow_by, units, hidden, sums)


@_jit
def choose_codes(
    rows: Pairs,
    by: Reals,
    bias: Reals,
    normal: Pairs,
    level: Reals,
    code: Codes,
    weights: Reals,
    sums: Pairs,
) -> None:
    """Codes (n,) of states at uniform `level` (n,); `weights` (codes, n) and `sums` are scratch.

    Scores are products of `rows` with the states, times `by` and with `bias` added: logarithms
    to base 2.
    """
    codes, n = weights.shape
    highest = np.full(n, -np.inf, np.float32)
    for row in range(0, rows.shape[0], ROWS):
        multiply(rows, row, normal, sums)
        for k in range(min(ROWS, codes - row)):
            factor, constant = by[row + k], bias[row + k]
            for i in range(n):
                weights[row + k, i] = np.float32(sums[k, i]) * factor + constant
                highest[i] = max(highest[i], weights[row + k, i])
    for k in range(codes):
        for i in range(n):
            weights[k, i] = exp2(weights[k, i] - highest[i])
    draw_codes(weights, level, code)


@_jit
def draw_codes(weights: Reals, level: Reals, code: Codes) -> None:
    """Codes (n,) drawn ∝ `weights` (codes, n), which are summed up, at uniform `level` (n,)."""
    codes, n = weights.shape
    for k in range(1, codes):
        for i in range(n):
            weights[k, i] += weights[k - 1, i]
    threshold = level * weights[codes - 1]
    passed = np.zeros(n, np.int32)
    # The last one is never passed by: a level may round up to 1.
    for k in range(codes - 1):
        for i in range(n):
            passed[i] += np.int32(weights[k, i] <= threshold[i])
    for i in range(n):
        code[i] = passed[i]


@_jit
def draw_alleles(
    normal: Pairs,
    state: Pairs,
    state_lanes: Pairs,
    state_by: Reals,
    state_bias: Reals,
    unit_by: Reals,
    unit_table: Reals,
    first: int,
    code: Codes,
    out_lanes: Pairs,
    out_by: Reals,
    tables: Reals,
    inverse: float,
    level: Reals,
    units: NDArray[np.int16],
    unit_pairs: Pairs,
    sums: Pairs,
    drawn: NDArray[np.int16],
    alleles: NDArray[np.int8],
    probabilities: Reals,
) -> None:
    """Alleles at uniform `level` (n, sites) into `drawn` (n, sites) and `alleles`, of fewer.

    `normal` (pairs, n) are the states, which become rows, `state`. Units of the residual decoder
    are those of the state and of row `first` + `code` of `unit_table`; logits are theirs and the
    `code`'s of `tables` (codes, sites), times `inverse`. `alleles` has only the haplotypes and
    sites that are wanted; `probabilities` has no rows, or what `alleles` were drawn with.
    """
    size, width = alleles.shape
    sites, hidden = tables.shape[1], unit_table.shape[1]
    factor = np.float32(-inverse)
    for i in range(normal.shape[1]):
        for c in range(normal.shape[0]):
            state[i, c] = normal[c, i]
    for start in range(0, size, ROWS):
        multiply(state, start, state_lanes, sums)
        for k in range(ROWS):
            i = start + k
            row = unit_table[first + code[i]]
            for u in range(hidden):
                value = np.float32(sums[k, u]) * state_by[u] + (state_bias[u] + row[u])
                units[i, u] = _rounded(max(value, np.float32(0)) * unit_by[u])
        multiply(unit_pairs, start, out_lanes, sums)
        for k in range(ROWS):
            i = start + k
            row = tables[code[i]]
            for s in range(sites):
                logit = (np.float32(sums[k, s]) * out_by[s] + row[s]) * factor
                probability = _ONE / (_ONE + exp2(logit))
                # Strictly below: probability 0 never gives the allele.
                drawn[i, s] = level[i, s] < probability
                level[i, s] = probability
            if i < size:
                for s in range(width):
                    alleles[i, s] = drawn[i, s]
                if probabilities.shape[0]:
                    for s in range(width):
                        probabilities[i, s] = level[i, s]


@_jit
def tokens(
    drawn: Pairs,
    lanes: Pairs,
    by: Reals,
    table: Reals,
    first: int,
    code: Codes,
    window: Reals,
    condition: Reals,
    hidden: Reals,
    told: Reals,
    sums: Pairs,
) -> None:
    """What the next position is told, into `hidden` (dimension, n).

    The alleles `drawn`, times `lanes` and `by`; row `first` + `code` of `table`; the `window`'s
    own (dimension,) and the `condition` (dimension, n). `told` (n, dimension) is scratch.
    """
    dimension, n = hidden.shape
    for start in range(0, n, ROWS):
        multiply(drawn, start, lanes, sums)
        for k in range(ROWS):
            row, mine = table[first + code[start + k]], told[start + k]
            for c in range(dimension):
                mine[c] = np.float32(sums[k, c]) * by[c] + (row[c] + window[c])
    # A few at a time, whose rows stay in the first-level cache.
    for start in range(0, n, _VECTOR):
        for c in range(dimension):
            for i in range(start, start + _VECTOR):
                hidden[c, i] = told[i, c] + condition[c, i]
