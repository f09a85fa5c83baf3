"""k-mer spectra of cohorts laid over reference bases, counted from local haplotypes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haplobench import Measurement, MetricResult, Panel, Reference, ReferenceSequence, RunContext
from haplobench.data.distances import popcount
from haplobench.kernels import compiled
from haplobench.memory import remember
from haplobench_fidelity.cohorts import require_complete, site_blocks
from haplobench_fidelity.haplotype_words import align, jensen_shannon
from haplobench_fidelity.specs_haplotypes import K_MERS, KmerParams

_CHUNK = 1 << 22
# Up to here a table of all 4**k k-mers is smaller than a sorted list of a long region's.
_DENSE_K = 12
_TABLE_SITES = 12
# Of so few sites all sets are counted; 63 of them for six.
_FEW_SITES = 6
_BINS = 24
UNKNOWN = 4
_LEFT_OUT = 5
_CODES = np.full(256, UNKNOWN, np.int8)
for _code, _letters in enumerate(("Aa", "Cc", "Gg", "Tt")):
    for _letter in _letters:
        _CODES[ord(_letter)] = _code


@dataclass(frozen=True, eq=False)
class PlacedCohort:
    """A panel's haplotypes over the bases of its region.

    Attributes
    ----------
    panel : Panel
    bases : (length,) int8
        A, C, G, T as 0 to 3, `UNKNOWN` for N; reference alleles stand at the sites.
    columns : (n_used,) int64
        Columns of the panel that are placed.
    offsets : (n_used,) int64
        Their indices in `bases`, increasing.
    alternates : (n_used,) int8
        Their alternate bases, 0 to 3.
    note : str
        What was made up or left out; empty if nothing.
    """

    panel: Panel
    bases: NDArray[np.int8]
    columns: NDArray[np.int64]
    offsets: NDArray[np.int64]
    alternates: NDArray[np.int8]
    note: str

    def masked(self) -> NDArray[np.int8]:
        """The bases with `UNKNOWN` at every placed site: what all haplotypes share."""
        masked = self.bases.copy()
        masked[self.offsets] = UNKNOWN
        return masked


def place(background: ReferenceSequence, panel: Panel, under: Panel | None = None) -> PlacedCohort:
    """Lay `panel` over `background`.

    `under` is a panel whose reference alleles are written first: those of the real panel under
    a synthetic cohort with sites of its own, so that both share what neither varies. Unknown
    alleles (`N`) become the background's base and a base derived from the position alone,
    the same for every cohort; alleles of several bases are left out, as are sites outside
    `background`.
    """
    bases = _CODES[background.bases]
    if under is not None:
        _write_reference(bases, background.start, under)
    offsets = panel.positions - background.start
    inside = (offsets >= 0) & (offsets < bases.size)
    reference, alternate = _allele_codes(panel.ref), _allele_codes(panel.alt)
    used = inside & (reference != _LEFT_OUT) & (alternate != _LEFT_OUT)
    columns = np.flatnonzero(used)
    offsets, reference, alternate = offsets[columns], reference[columns], alternate[columns]
    made_up = (reference == UNKNOWN) | (alternate == UNKNOWN)
    draw = _position_hash(panel.positions[columns])
    reference = np.where(reference == UNKNOWN, bases[offsets], reference)
    reference = np.where(reference == UNKNOWN, (draw >> np.uint64(8)) % np.uint64(4), reference)
    other = (reference + 1 + (draw % np.uint64(3)).astype(np.int8)) % 4
    alternate = np.where(alternate == UNKNOWN, other, alternate)
    bases[offsets] = reference
    notes = ["surrogate reference"] if background.surrogate else []
    for count, what in (
        (int(made_up.sum()), "sites with surrogate alleles"),
        (int((inside & ~used).sum()), "sites with alleles of several bases left out"),
        (int((~inside).sum()), "sites outside the reference left out"),
    ):
        if count:
            notes.append(f"{count} {what}")
    return PlacedCohort(
        panel,
        bases,
        columns,
        offsets,
        alternate.astype(np.int8),
        "; ".join(notes),
    )


def place_real(panel: Panel, ctx: RunContext) -> PlacedCohort | None:
    """A real panel over the dataset's reference; None if the dataset has none."""
    return None if ctx.sequence is None else place(ctx.sequence, panel)


def place_synthetic(panel: Panel, real: Panel, ctx: RunContext) -> PlacedCohort:
    """A synthetic cohort over the bases that its generator laid, else over the dataset's."""
    if ctx.synthetic_sequence is not None:
        return place(ctx.synthetic_sequence, panel)
    if ctx.sequence is None:
        raise ValueError("no reference sequence")
    return place(ctx.sequence, panel, under=real)


def digest(*arrays: NDArray[np.generic]) -> str:
    """BLAKE2b (hex) of some arrays' bytes, to remember results by."""
    state = hashlib.blake2b(digest_size=16)
    for array in arrays:
        state.update(np.ascontiguousarray(array).view(np.uint8).data)
        state.update(b"|")
    return state.hexdigest()


def _allele_codes(alleles: NDArray[np.str_]) -> NDArray[np.int8]:
    """0 to 3, `UNKNOWN` for one letter that is no base, `_LEFT_OUT` for several letters."""
    first = alleles.astype("U1").view(np.uint32)
    codes = np.where(first < 256, _CODES[first & 255], UNKNOWN).astype(np.int8)
    codes[np.char.str_len(alleles) != 1] = _LEFT_OUT
    return codes


def _write_reference(bases: NDArray[np.int8], start: int, panel: Panel) -> None:
    codes = _allele_codes(panel.ref)
    offsets = panel.positions - start
    known = (codes < UNKNOWN) & (offsets >= 0) & (offsets < bases.size)
    bases[offsets[known]] = codes[known]


def _position_hash(positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """SplitMix64 of each position: a fixed draw per site, whatever other sites there are."""
    z = positions.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """How often each k-mer occurs.

    Attributes
    ----------
    codes : (n,) int64
        k-mers, two bits per base (A 0, C 1, G 2, T 3; first base highest), increasing.
    counts : (n,) int64
    """

    codes: NDArray[np.int64]
    counts: NDArray[np.int64]


def kmer_spectra(
    reference: Reference, cohort: Panel, params: KmerParams, ctx: RunContext
) -> MetricResult:
    """Jensen-Shannon divergences of the k-mer spectra of two cohorts; their joint histogram.

    Raises PanelError on missing alleles.
    """
    holdout, n = reference.holdout, cohort.n_haplotypes
    require_complete("k-mers", holdout=holdout, synthetic=cohort)
    real = place_real(holdout, ctx)
    if real is None:
        return K_MERS.not_applicable("no reference sequence")
    k, canonical = params.k, params.canonical
    synthetic = place_synthetic(cohort, holdout, ctx)
    note = synthetic.note
    real_variant = remember(
        ("variant k-mers", holdout.digest, digest(real.bases), k, canonical),
        lambda: variant_spectrum(real, k, canonical),
    )
    variant = variant_spectrum(synthetic, k, canonical)
    if not variant.codes.size or not real_variant.codes.size:
        return K_MERS.not_applicable("no k-mer overlaps a variant" + (note and f"; {note}"), n)
    real_counts, counts = _aligned(real_variant, variant)
    real_all = _with_invariant(real_variant, real, k, canonical, keep=True)
    everywhere = _aligned(real_all, _with_invariant(variant, synthetic, k, canonical, keep=False))
    all_jsd = Measurement(jensen_shannon(*everywhere), n, note=note)
    if not holdout.same_sites(cohort):
        # k-mers at other sites come from other stretches of the reference: a divergence
        # near 1 would look like a fault of the haplotypes.
        lack = K_MERS.not_applicable("sites differ", n).measurements
        return MetricResult({**lack, "all_jsd": all_jsd})
    distinct = variant.codes.size / real_variant.codes.size
    return MetricResult(
        {
            "variant_jsd": Measurement(jensen_shannon(real_counts, counts), n, note=note),
            "all_jsd": all_jsd,
            "variant_distinct_ratio": Measurement(distinct, n, note=note),
        },
        {"spectrum": _joint_histogram(real_counts, counts)},
    )


def _aligned(first: Spectrum, second: Spectrum) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts of both spectra over the k-mers of either."""
    _, one, other = align(first.codes, first.counts, second.codes, second.counts)
    return one, other


def variant_spectrum(cohort: PlacedCohort, k: int, canonical: bool = True) -> Spectrum:
    """k-mers of all haplotypes that overlap at least one placed site.

    Haplotypes that agree at the sites inside a k-mer share it: each stretch of sites is
    counted by distinct local haplotypes, never haplotype by haplotype. k-mers that contain N
    are left out. `k` is 1 to 31.
    """
    codes, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    n_sites = cohort.columns.size
    last_start = cohort.bases.size - k
    for block in site_blocks(cohort.panel.n_haplotypes, n_sites):
        low = max(0, int(cohort.offsets[block.start]) - k + 1)
        high = last_start + 1
        if block.stop < n_sites:
            high = min(high, int(cohort.offsets[block.stop]) - k + 1)
        # Sites before the block may lie under its first k-mers, none after it can.
        first = int(np.searchsorted(cohort.offsets, low))
        sites = slice(first, block.stop)
        bits = cohort.panel.packed_sites(cohort.columns[sites])
        found = _variant_kmers(
            cohort.bases, cohort.offsets[sites], cohort.alternates[sites], bits,
            cohort.panel.n_haplotypes, low, high, k, canonical,
        )  # fmt: skip
        codes.append(found[0])
        counts.append(found[1])
    return _tally(np.concatenate(codes), np.concatenate(counts))


def invariant_spectrum(bases: NDArray[np.int8], k: int, canonical: bool = True) -> Spectrum:
    """k-mers of one sequence (codes 0 to 3) that contain no `UNKNOWN` base."""
    if k <= _DENSE_K:
        table = np.zeros(4**k, np.int64)
        for codes in invariant_chunks(bases, k, canonical):
            table += np.bincount(codes, minlength=table.size)
        present = np.flatnonzero(table)
        return Spectrum(present, table[present])
    codes = np.concatenate([np.empty(0, np.int64), *invariant_chunks(bases, k, canonical)])
    unique, counts = np.unique(codes, return_counts=True)
    return Spectrum(unique, counts.astype(np.int64))


def invariant_chunks(
    bases: NDArray[np.int8], k: int, canonical: bool = True
) -> Iterator[NDArray[np.int64]]:
    """The k-mers of one sequence in order, of 4 Mi starts at a time: (n,) int64 each."""
    for start in range(0, max(0, bases.size - k + 1), _CHUNK):
        yield _plain_kmers(bases[start : start + _CHUNK + k - 1], k, canonical)


def _with_invariant(
    variant: Spectrum, cohort: PlacedCohort, k: int, canonical: bool, *, keep: bool
) -> Spectrum:
    masked = cohort.masked()
    invariant = remember(
        ("invariant k-mers", digest(masked), k, canonical),
        lambda: invariant_spectrum(masked, k, canonical),
        keep=keep,
    )
    times = cohort.panel.n_haplotypes
    codes, first, second = align(variant.codes, variant.counts, invariant.codes, invariant.counts)
    return Spectrum(codes, first + times * second)


def _tally(codes: NDArray[np.int64], counts: NDArray[np.int64]) -> Spectrum:
    if not codes.size:
        return Spectrum(codes, counts)
    order = np.argsort(codes)
    codes, counts = codes[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    return Spectrum(codes[starts], np.add.reduceat(counts, starts))


def _joint_histogram(
    real: NDArray[np.int64], synthetic: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Numbers of k-mers by log10 frequency on both sides; absent ones in a lowest bin."""
    lowest = np.log10(min(1 / real.sum(), 1 / synthetic.sum()))
    highest = np.log10(max(real.max() / real.sum(), synthetic.max() / synthetic.sum()))
    width = max((highest - lowest) / _BINS, 1e-9)

    def bins(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        # Bin 0 holds the absent, bins 1 to _BINS the range of frequencies.
        frequency = np.log10(np.maximum(counts, 1) / counts.sum())
        index = np.clip(((frequency - lowest) / width).astype(np.int64), 0, _BINS - 1) + 1
        return np.where(counts > 0, index, 0)

    cells = np.bincount(bins(real) * (_BINS + 1) + bins(synthetic), minlength=(_BINS + 1) ** 2)
    filled = np.flatnonzero(cells)
    return {
        "real_log10": lowest + (filled // (_BINS + 1) - 0.5) * width,
        "synthetic_log10": lowest + (filled % (_BINS + 1) - 0.5) * width,
        "k_mers": cells[filled].astype(np.float64),
        "width": np.full(filled.size, width),
    }


@compiled
def _canonical(code: int, k: int) -> int:
    """The smaller of a k-mer and its reverse complement."""
    reverse = 0
    rest = code
    for _ in range(k):
        reverse = (reverse << 2) | (3 - (rest & 3))
        rest >>= 2
    return min(code, reverse)


@compiled
def _plain_kmers(bases: NDArray[np.int8], k: int, canonical: bool) -> NDArray[np.int64]:
    codes = np.empty(max(0, bases.size - k + 1), np.int64)
    mask = (np.int64(1) << (2 * k)) - 1
    top = 2 * (k - 1)
    forward = np.int64(0)
    reverse = np.int64(0)
    length = size = 0
    for base in bases:
        if base >= UNKNOWN:
            length = 0
            continue
        forward = ((forward << 2) | np.int64(base)) & mask
        reverse = (reverse >> 2) | (np.int64(3 - base) << top)
        length += 1
        if length >= k:
            codes[size] = min(forward, reverse) if canonical else forward
            size += 1
    return codes[:size].copy()


@compiled
def _variant_kmers(
    bases: NDArray[np.int8],
    offsets: NDArray[np.int64],
    alternates: NDArray[np.int8],
    bits: NDArray[np.uint64],
    n_haplotypes: int,
    low: int,
    high: int,
    k: int,
    canonical: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """k-mers that start in [low, high) and overlap a site, with numbers of haplotypes.

    `bits` are alleles, (n_sites, n_words) of 64 haplotypes each. A k-mer may come out
    several times.
    """
    n_sites = bits.shape[0]
    codes = np.empty(4 * k * n_sites + 16, np.int64)
    counts = np.empty_like(codes)
    size = 0
    table = np.zeros(1 << _TABLE_SITES, np.int64)
    words = np.empty(n_haplotypes, np.int64)
    distinct = np.empty(max(n_haplotypes, 1 << _FEW_SITES), np.int64)
    copies = np.empty_like(distinct)
    n_distinct = 0
    mask = (np.int64(1) << (2 * k)) - 1
    first = last = 0  # sites first..last-1 lie under the k-mer
    old_first = old_last = -1
    start = low
    next_base = low  # bases before it are in `forward`
    forward = np.int64(0)
    length = 0
    while start < high:
        while first < n_sites and offsets[first] < start:
            first += 1
        while last < n_sites and offsets[last] < start + k:
            last += 1
        if first == last:
            if first == n_sites:
                break
            start = max(start + 1, offsets[first] - k + 1)
            if start >= high:
                break
            if next_base < start:
                next_base = start
                length = 0
            continue
        while next_base < start + k:
            base = bases[next_base]
            if base >= UNKNOWN:
                length = 0
            else:
                forward = ((forward << 2) | np.int64(base)) & mask
                length += 1
            next_base += 1
        if length < k:
            start += 1
            continue
        if first != old_first or last != old_last:
            some = bits[first:last]
            if last - first <= _FEW_SITES:
                n_distinct = _words_of_few(some, n_haplotypes, distinct, copies)
            else:
                n_distinct = _distinct_words(some, table, words, distinct, copies)
            old_first, old_last = first, last
        if size + n_distinct > codes.size:
            codes = np.concatenate((codes, np.empty(codes.size + n_distinct, np.int64)))
            counts = np.concatenate((counts, np.empty(codes.size - counts.size, np.int64)))
        for d in range(n_distinct):
            code = forward
            word = distinct[d]
            for site in range(last - 1, first - 1, -1):
                if word & 1:
                    at = offsets[site]
                    change = np.int64(alternates[site]) - np.int64(bases[at])
                    code += change << (2 * (start + k - 1 - at))
                word >>= 1
            codes[size] = _canonical(int(code), k) if canonical else code
            counts[size] = copies[d]
            size += 1
        start += 1
    return codes[:size].copy(), counts[:size].copy()


@compiled
def _words_of_few(
    bits: NDArray[np.uint64],
    n_haplotypes: int,
    distinct: NDArray[np.int64],
    copies: NDArray[np.int64],
) -> int:
    """As `_distinct_words`, from how many haplotypes have all alternate alleles of each set.

    Those that have the set's alone are left by inclusion and exclusion.
    """
    n_sites, n_words = bits.shape
    n_sets = 1 << n_sites
    both = np.empty(n_words, np.uint64)
    copies[0] = n_haplotypes
    for chosen in range(1, n_sets):
        both[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        for site in range(n_sites):
            if chosen >> (n_sites - 1 - site) & 1:
                row = bits[site]
                for w in range(n_words):
                    both[w] &= row[w]
        count = 0
        for w in range(n_words):
            count += popcount(both[w])
        copies[chosen] = count
    for site in range(n_sites):
        for chosen in range(n_sets):
            if not chosen >> site & 1:
                copies[chosen] -= copies[chosen | 1 << site]
    found = 0
    for chosen in range(n_sets):
        if copies[chosen]:
            copies[found] = copies[chosen]
            distinct[found] = chosen
            found += 1
    return found


@compiled
def _distinct_words(
    bits: NDArray[np.uint64],
    table: NDArray[np.int64],
    words: NDArray[np.int64],
    distinct: NDArray[np.int64],
    copies: NDArray[np.int64],
) -> int:
    """Distinct columns of `bits` as words (first site highest) and their copies.

    Fills `distinct` and `copies`, returns how many.
    """
    n_sites, n_haplotypes = bits.shape[0], words.size
    words[:] = 0
    for site in range(n_sites):
        row = bits[site]
        for h in range(n_haplotypes):
            words[h] = (words[h] << 1) | np.int64(row[h >> 6] >> np.uint64(h & 63) & np.uint64(1))
    found = 0
    if n_sites <= _TABLE_SITES:
        for h in range(n_haplotypes):
            word = words[h]
            if table[word] == 0:
                distinct[found] = word
                found += 1
            table[word] += 1
        for d in range(found):
            copies[d] = table[distinct[d]]
            table[distinct[d]] = 0
        return found
    ordered = np.sort(words)
    for h in range(n_haplotypes):
        if h == 0 or ordered[h] != ordered[h - 1]:
            distinct[found] = ordered[h]
            copies[found] = 0
            found += 1
        copies[found - 1] += 1
    return found
