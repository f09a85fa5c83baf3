"""Central privacy: a trusted server clips clients' updates and noises their sum.

Flower 1.41 has a strategy for it, whose noise comes from numpy's global generator and is added in
floating point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flwr.app import ArrayRecord, Message

from haplobench import PrivacyCharge
from haplobench_federated.accounting import noise_for
from haplobench_federated.noise import NoiseSource
from haplobench_federated.noised_sum import cut, fine_step, noised
from haplobench_federated.params import FederatedParams
from haplobench_federated.updates import arrays_of, difference, flat, message_of, moved, unflat

_ARITHMETIC = 2.0**-30  # of a norm in float64, with room


def central_noise(params: FederatedParams, delta: float) -> float:
    """Noise multiplier of the server's noise: given, or what all rounds need."""
    if params.noise_multiplier is not None:
        return params.noise_multiplier
    assert params.epsilon is not None  # checked by the parameters
    return 2 * noise_for(params.epsilon, delta, 1.0, params.rounds, params.accountant)


def central_charge(noise_multiplier: float) -> PrivacyCharge:
    """What a person is charged for a round of central noise.

    The clipped update of a client lies in a ball of the clipping norm's radius; a person more or
    less may move it across, by twice the norm. So a person is protected by half the noise
    multiplier. Which clients are drawn is known to the server: no amplification.
    """
    return PrivacyCharge(noise_multiplier / 2, 1.0)


def noised_average(
    replies: Sequence[Message],
    start: ArrayRecord,
    norm: float,
    noise_multiplier: float,
    source: NoiseSource,
) -> Message:
    """The average of updates clipped to `norm`, all weights equal, with noise on their sum.

    Parameters
    ----------
    replies : sequence of Message
        With finite weights like `start`'s.
    start : ArrayRecord
        What the clients started from.
    norm : float
        Bound of an update's L2 norm.
    noise_multiplier : float
        Standard deviation of the sum's noise per norm.
    source : NoiseSource
    """
    total = None
    for reply in replies:
        vector = flat(difference(arrays_of(reply), start))
        length = float(np.linalg.norm(vector))
        step = fine_step(norm, vector.size)
        whole = cut(vector * min(1.0, norm / length if length else 1.0), step)
        total = whole if total is None else total + whole
    assert total is not None, "an average of nobody"
    step = fine_step(norm, total.size)
    sensitivity = norm * (1 + _ARITHMETIC) / step
    released = noised(total, noise_multiplier, sensitivity, source)
    average = np.asarray(released * (step / len(replies)), np.float64)
    return message_of(moved(start, unflat(average, start)), len(replies))
