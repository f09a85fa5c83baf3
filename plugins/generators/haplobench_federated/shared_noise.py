"""Noise that a round's clients share, so that only the sum of their updates is private.

Of k clients each adds Gaussian noise of multiplier σ / √k to its clipped gradients; the sum has σ.
A person's gradient lies in the sum once, with sensitivity C, whoever holds it: the claim is that
of one client with all the people, where with `local` noise the sum has √k times as much noise.

It rests on more than local noise does:

- The server learns only the sum (`haplobench_federated.params` says from whom that is
  hidden). It could compute all it sees from that sum, as a client's update is one step of SGD,
  which is linear; a client's Adam, or a bound on its update, would not be.
- k = ceil(`honest` × drawn) of those that answer add their noise and tell it nobody. A round that
  fewer answer is abandoned; with SecAgg+ the clients themselves see to that by the threshold of
  their shares. With m answering, m - k may collude with the server, no more.
- A client that takes part knows its own noise: against it the sum has what the others added,
  (m - 1) / k of the variance. A smaller `honest` covers that.
- Clients write their sums in whole steps of the grid that the secure sum is made of, and add
  discrete Gaussian noise there: what is summed is integers, with nothing rounded after the noise.
  That the sum has the noise of one is an argument of `haplobench.noise`, which
  needs 8 steps of noise or more of each client: it refuses less. CKKS adds noise of its own, which
  the client that decrypts the sum rounds off. Values are never cut to the clipping range but with
  probability below 1e-30 each: a client refuses where 12 standard deviations don't fit.
"""

from __future__ import annotations

import math

from haplobench.noise import deviation, rounded_sensitivity
from haplobench_federated.params import FederatedParams
from haplobench_federated.secure_arithmetic import Quantisation, error_bound

_STEPS = 8.0
_DEVIATIONS = 12.0


def least_clients(params: FederatedParams) -> int:
    """Clients whose noise together is what is claimed; 1 where noise is local."""
    if not params.privacy.shared:
        return 1
    # 0.7 of 10 are 7, whatever the last bit of the product.
    return max(2, math.ceil(params.privacy.honest * params.federation.drawn * (1 - 1e-9)))


def own_noise(params: FederatedParams, noise_multiplier: float) -> float:
    """The part of a noise multiplier that a client adds."""
    return noise_multiplier / math.sqrt(least_clients(params))


def summed_step(params: FederatedParams) -> float:
    """The step of the grid that people times an update are summed on; the same at all clients.

    That of the quantisation; with CKKS eight times what a ciphertext of each client adds.
    """
    secure = params.aggregation.secure
    if secure.kind == "secagg":
        return Quantisation(secure.bits, secure.clipping_range, 1).step
    return 8 * error_bound(params.federation.clients, 1)


def gradient_step(params: FederatedParams, round_number: int) -> float:
    """The step of a sum of clipped gradients that makes people times an update whole steps."""
    return summed_step(params) * params.training.sampling_rate / params.client_rate(round_number)


def frequencies_step(params: FederatedParams, n_sites: int) -> float:
    """The step of a sum of alleles that makes people times frequencies, as sent, whole steps."""
    return summed_step(params) / frequencies_scale(n_sites)


def misfit_of_updates(
    params: FederatedParams, people: int, size: int, noise_multiplier: float
) -> str:
    """Why a client can't take part with shared noise, or empty.

    Parameters
    ----------
    people : int
        Of the client.
    size : int
        Parameters of the model.
    noise_multiplier : float
        Of the sum.
    """
    if not params.privacy.shared:
        return ""
    expected = params.training.sampling_rate * people
    if expected < 1:
        return f"a batch of {expected:.2g} people; expected at least 1 on average, to share noise"
    noise = own_noise(params, noise_multiplier)
    rates = params.client_rate(1), params.client_rate(params.training.rounds)
    norm = params.privacy.clipping_norm
    for number, rate in zip((1, params.training.rounds), rates, strict=True):
        step = gradient_step(params, number)
        sensitivity = rounded_sensitivity(norm, step, size)
        said = _misfit(
            params,
            people,
            people * norm * rate / expected,
            deviation(noise, sensitivity) * step * rate / expected,
            noise * norm / step,
        )
        if said:
            return said
    return ""


def frequencies_scale(n_sites: int) -> float:
    """What clients multiply noised frequencies by on their way, and the server divides by.

    Their noise grows with the square root of the sites: so it fits into the same clipping range.
    """
    return min(1.0, 4 / math.sqrt(n_sites))


def misfit_of_frequencies(
    params: FederatedParams, people: int, n_sites: int, noise_multiplier: float
) -> str:
    """The same of allele frequencies, which lie within 1/2 of 1/2."""
    if not params.privacy.shared:
        return ""
    noise = own_noise(params, noise_multiplier) * math.sqrt(n_sites) / 2
    scale = frequencies_scale(n_sites)
    steps = noise / frequencies_step(params, n_sites)
    return _misfit(params, people, 0.5 * scale, noise / people * scale, steps)


def _misfit(
    params: FederatedParams, people: int, greatest: float, spread: float, steps: float
) -> str:
    """Of values up to `greatest` without noise of standard deviation `spread`, or so many steps."""
    secure = params.aggregation.secure
    if steps < _STEPS:
        return (
            f"aggregation.secure.{'bits' if secure.kind == 'secagg' else 'kind'} "
            f"{secure.bits if secure.kind == 'secagg' else secure.kind}: a client's noise is "
            f"{steps:.3g} steps of what is summed; expected at least {_STEPS:g}"
        )
    needed = greatest + _DEVIATIONS * spread
    if secure.kind == "secagg" and needed > secure.clipping_range:
        return (
            f"aggregation.secure.clipping_range {secure.clipping_range:g}; expected at least "
            f"{needed:.3g}, to hold the noise of {people} people"
        )
    return ""
