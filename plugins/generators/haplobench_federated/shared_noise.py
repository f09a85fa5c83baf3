"""Noise that a round's clients share, so that only the sum of their updates is private.

Of k clients each adds Gaussian noise of multiplier σ / √k to its clipped gradients; the sum has σ.
A person's gradient lies in the sum once, with sensitivity C, whoever holds it: the claim is that
of one client with all the people, where with `local` noise the sum has √k times as much noise.

It rests on more than local noise does:

- The server learns only the sum (`haplobench_federated.secure_params` says from whom that is
  hidden). It could compute all it sees from that sum, as a client's update is one step of SGD,
  which is linear; a client's Adam, or a bound on its update, would not be.
- k = ceil(`honest` × drawn) of those that answer add their noise and tell it nobody. A round that
  fewer answer is abandoned; with SecAgg+ the clients themselves see to that by the threshold of
  their shares. With m answering, m - k may collude with the server, no more.
- A client that takes part knows its own noise: against it the sum has what the others added,
  (m - 1) / k of the variance. A smaller `honest` covers that.
- Rounding comes after the noise, client by client. As long as it is finer than a client's noise,
  the sum has the distribution of Gaussian noise and uniform noise that depends on nobody, but for
  a term below exp(-2 π² (noise / rounding)²): Poisson summation (Widrow & Kollár 2008,
  Quantization Noise, ch. 5). The accountant leaves that out; a client refuses noise of fewer than
  8 roundings, where it is below 1e-500. Values are never cut to the clipping range but with
  probability below 1e-30 each: a client refuses where 12 standard deviations don't fit.
"""

from __future__ import annotations

import math

from haplobench_federated.params import FederatedParams

_ROUNDINGS = 8.0
_DEVIATIONS = 12.0


def shares_noise(params: FederatedParams) -> bool:
    """Whether clients share noise."""
    return params.noised and params.noise == "shared"


def least_clients(params: FederatedParams) -> int:
    """Clients whose noise together is what is claimed; 1 where noise is local."""
    if not shares_noise(params):
        return 1
    drawn = max(1, math.floor(params.fraction * params.clients))
    # 0.7 of 10 are 7, whatever the last bit of the product.
    return max(2, math.ceil(params.honest * drawn * (1 - 1e-9)))


def own_noise(params: FederatedParams, noise_multiplier: float) -> float:
    """The part of a noise multiplier that a client adds."""
    return noise_multiplier / math.sqrt(least_clients(params))


def misfit_of_updates(params: FederatedParams, people: int, noise_multiplier: float) -> str:
    """Why a client can't take part with shared noise, or empty.

    Parameters
    ----------
    params : FederatedParams
    people : int
        Of the client.
    noise_multiplier : float
        Of the sum.
    """
    if not shares_noise(params):
        return ""
    expected = params.sampling_rate * people
    if expected < 1:
        return f"a batch of {expected:.2g} people; expected at least 1 on average, to share noise"
    noise = own_noise(params, noise_multiplier)
    step = params.learning_rate * params.clipping_norm / expected
    return _misfit(params, people, people * step, noise * step)


def frequencies_scale(n_sites: int) -> float:
    """What clients multiply noised frequencies by on their way, and the server divides by.

    Their noise grows with the square root of the sites: so it fits into the same clipping range.
    """
    return min(1.0, 4 / math.sqrt(n_sites))


def misfit_of_frequencies(
    params: FederatedParams, people: int, n_sites: int, noise_multiplier: float
) -> str:
    """The same of allele frequencies, which lie within 1/2 of 1/2."""
    if not shares_noise(params):
        return ""
    noise = own_noise(params, noise_multiplier) * math.sqrt(n_sites) / 2 / people
    scale = frequencies_scale(n_sites)
    return _misfit(params, people, 0.5 * scale, noise * scale)


def _misfit(params: FederatedParams, people: int, greatest: float, deviation: float) -> str:
    """Of values up to `greatest` without noise of standard deviation `deviation`."""
    secure = params.secure
    if secure.kind != "secagg":
        return ""  # CKKS: 40 bits after the point, and refuses what overflows
    needed = greatest + _DEVIATIONS * deviation
    if needed > secure.clipping_range:
        return (
            f"secure.clipping_range {secure.clipping_range:g}; expected at least {needed:.3g}, to "
            f"hold the noise of {people} people"
        )
    rounding = 2 * secure.clipping_range / (2**secure.bits - 1) / people
    if deviation < _ROUNDINGS * rounding:
        return (
            f"secure.bits {secure.bits}: rounds by {rounding:.3g}; expected at most "
            f"{deviation / _ROUNDINGS:.3g}, an eighth of the noise"
        )
    return ""
