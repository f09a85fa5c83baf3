"""Parameters of `vae-federated`, in four sections; imports no torch, so that listing them is cheap.

Names of earlier builds, which had no sections, are read too: `haplobench_federated.old_names`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from haplobench import BenchError, Module, Params
from haplobench.data.consent import WithdrawnSetting
from haplobench_federated.old_names import sectioned

Accountant = Literal["prv", "rdp"]
GREATEST_NOISE = 1e4  # noise multiplier


class _Section(Params):
    """Numbers are finite, but where a parameter says what an infinite one means."""

    model_config = ConfigDict(allow_inf_nan=False)


def _default(section: type[_Section]) -> Any:
    """A field that has the section's own defaults."""
    return Field(default_factory=lambda: section.model_validate({}))


class ModelParams(_Section):
    """Sizes of the model, and how it is sampled.

    Attributes
    ----------
    window, codes : int
        Sites and codes per window.
    temperature : float
        Divides the decoder's logits when sampling: below 1 fewer rare alleles.
    """

    window: int = Field(16, ge=2, le=4096)
    codes: int = Field(32, ge=2, le=4096)
    temperature: float = Field(0.7, gt=0, le=2)


class StudentParams(_Section):
    """A small model fitted to samples of the federation's, and kept in its place.

    Attributes
    ----------
    window, codes : int
        Sites and codes per window.
    people : int
        Drawn from the federation's model.
    steps : int
        Of Adam, in tens, on a tenth of the people at a time.
    learning_rate : float
        At first; falls to 0 by a cosine.
    """

    window: int = Field(32, ge=2, le=4096)
    codes: int = Field(8, ge=2, le=4096)
    people: int = Field(2000, ge=10, le=1_000_000)
    steps: int = Field(600, ge=10, le=1_000_000)
    learning_rate: float = Field(0.1, gt=0)


class FederationParams(_Section):
    """Who takes part: clients, their people, and who of them is drawn for a round.

    Attributes
    ----------
    clients : int
        Clients that the training people are shared out to.
    partition : str
        `iid`: at random, in equal parts. `population`, `superpopulation`: whole labels to
        clients, the largest first, each to the client with the fewest people so far.
        `dirichlet`: each population's people by shares drawn from a symmetric Dirichlet
        distribution. `file`: as `partition_file` says.
    concentration : float
        Of the Dirichlet distribution: small values give clients of one population.
    partition_file : str or None
        Tab-separated, a line per person: sample name, client name.
    fraction : float
        Share of the clients drawn for each round, at random, at least one.
    round_seconds : float or None
        A client that answers later is left out of that round (a straggler). None: the server
        waits, and the same seed always gives the same model.
    withdrawn : Withdrawn, str or None
        People of the training panel who withdrew their consent: a file, see
        `haplobench.data.consent.PeopleList`, or that and `allow_unknown`. Held-out people are
        unknown here; a dataset's `filters.withdrawn` knows everybody.
    """

    clients: int = Field(4, ge=1, le=10_000)
    partition: Literal["iid", "population", "superpopulation", "dirichlet", "file"] = "iid"
    concentration: float = Field(1.0, gt=0)
    partition_file: str | None = None
    fraction: float = Field(1.0, gt=0, le=1)
    round_seconds: float | None = Field(None, gt=0)
    withdrawn: WithdrawnSetting = None

    @property
    def drawn(self) -> int:
        """Clients drawn for a round."""
        return max(1, math.floor(self.fraction * self.clients))

    @model_validator(mode="after")
    def _file_given(self) -> Self:
        if self.partition == "file" and self.partition_file is None:
            raise ValueError("partition file: partition_file is missing")
        return self


class TrainingParams(_Section):
    """The schedule, the clients' steps, and the model.

    Attributes
    ----------
    rounds, local_steps : int
        Rounds of the federation, and steps of each client in a round.
    sampling_rate : float
        Probability with which each person of a client is in a step's batch, independently of the
        others (Poisson sampling). A batch holds this share of a client's people on average.
    memory_batch : int
        People whose gradients are in memory at a time, with privacy at most 128; changes no result
        but rounding.
    optimiser : str
        Of the clients: `adam` (state kept at the client between rounds) or `sgd`.
    learning_rate : float
    schedule : str
        `constant`, or `cosine`: the server's learning rate (FedAdam), else the clients', falls to
        0 over all rounds.
    averaging : float
        Decay per round of the moving average of the server's weights that is kept as the model;
        0 keeps the last. It costs no privacy.
    initial : str or None
        Folder of a saved model (`model.safetensors`) to start from: transfer learning.
    model : ModelParams
    student : StudentParams or None
        None: the federation's own model is kept.
    """

    rounds: int = Field(40, ge=1, le=100_000)
    local_steps: int = Field(1, ge=1, le=100_000)
    sampling_rate: float = Field(1.0, gt=0, le=1)
    memory_batch: int = Field(128, ge=1)
    optimiser: Literal["adam", "sgd"] = "sgd"
    learning_rate: float = Field(0.25, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    averaging: float = Field(0.9, ge=0, lt=1)
    initial: str | None = None
    model: ModelParams = _default(ModelParams)
    student: StudentParams | None = None

    def rate_factor(self, round_number: int) -> float:
        """What the schedule multiplies the learning rate by in a round, counted from 1."""
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (round_number - 1) / self.rounds))


class PrivacyParams(_Section):
    """Differential privacy: what is noised, how much, and what the start may know.

    Attributes
    ----------
    kind : str
        `local`: DP-SGD at each client, so that neither server nor clients see more than noised
        updates. `central`: clients' updates are clipped and noised by a trusted server, which
        protects whole clients (and hence people). `none`: no noise, no claim.
    noise : str
        With `local` privacy. `local`: each client's noise protects its people by itself.
        `shared`: each adds so much less that only the sum of `honest` of a round's clients has the
        noise that is claimed. Needs secure aggregation, and holds no further than that does; see
        `haplobench_federated.shared_noise`.
    honest : float
        With `shared` noise: share of the clients drawn for a round whose noise alone must do. A
        round that fewer answer is abandoned; of those that answer beyond it, as many may collude
        with the server.
    epsilon : float or None
        The budget: no round starts that would exceed it. Where `noise_multiplier` is not given,
        the noise is what the whole schedule needs to stay below. Infinite: as `kind: none`.
    delta : float or None
        The probability up to which ε may not hold. None: 1e-6, or 1 / n² for more than a thousand
        training people. Above 1 / n it is refused, and from a tenth of that on warned of.
    noise_multiplier : float or None
        Standard deviation of the noise per clipping norm, up to 10,000.
    clipping : str
        Of the gradient of a person (`local`): `flat`, `per_layer`, `adaptive` or `ghost`; of the
        update of a client (`central`): `flat`.
    clipping_norm : float
        Where adaptive: at first.
    clipping_quantile, clipping_learning_rate : float
        Where adaptive: share of people whose gradient is to stay unclipped, and how fast the norm
        follows it.
    accountant : str
        `prv` or `rdp`.
    repeatable_noise : bool
        Draw protective noise and private batches from the seed instead of the operating system's
        entropy. The same seed then gives the same model, and whoever has the seed, or a second
        run with it, can take the noise off: epsilon is infinite for them. For tests only.
    frequencies : str
        Allele frequencies that the model starts from: `half` (none known), `file` (public, from
        `frequencies_file`) or `noised` (the clients' counts with Gaussian noise, paid for).
    frequencies_file : str or None
        Tab-separated: position in bp, alternate allele frequency.
    frequencies_share : float
        Where `noised`: share of the budget that they take. A part of the squared ratio of
        sensitivity to noise, which adds up over Gaussian mechanisms (Bun & Steinke 2016,
        arXiv:1605.02065); what is charged is what the accountant says of the noise found so.
    """

    kind: Literal["local", "central", "none"] = "local"
    noise: Literal["local", "shared"] = "local"
    honest: float = Field(1.0, gt=0, le=1)
    epsilon: float | None = Field(8.0, gt=0, allow_inf_nan=True)
    delta: float | None = Field(None, gt=0, lt=1)
    noise_multiplier: float | None = Field(None, gt=0, le=GREATEST_NOISE)
    clipping: Literal["flat", "per_layer", "adaptive", "ghost"] = "ghost"
    clipping_norm: float = Field(4.0, gt=0)
    clipping_quantile: float = Field(0.5, gt=0, lt=1)
    clipping_learning_rate: float = Field(0.2, gt=0)
    accountant: Accountant = "prv"
    repeatable_noise: bool = False
    frequencies: Literal["half", "file", "noised"] = "noised"
    frequencies_file: str | None = None
    frequencies_share: float = Field(0.05, gt=0, lt=1)

    @property
    def noised(self) -> bool:
        """Whether there is any differential privacy."""
        return self.kind != "none" and self.epsilon != math.inf

    @property
    def local(self) -> bool:
        """Whether clients' steps are noised."""
        return self.noised and self.kind == "local"

    @property
    def central(self) -> bool:
        """Whether the server's sum is noised."""
        return self.noised and self.kind == "central"

    @property
    def shared(self) -> bool:
        """Whether clients share noise."""
        return self.noised and self.noise == "shared"

    @property
    def from_seed(self) -> bool:
        """Whether there is noise that whoever has the seed can take off."""
        return self.noised and self.repeatable_noise

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.frequencies == "file" and self.frequencies_file is None:
            raise ValueError("frequencies file: frequencies_file is missing")
        if self.noised and self.epsilon is None and self.noise_multiplier is None:
            raise ValueError(
                "privacy: neither epsilon nor noise_multiplier is given; expected one of them, or "
                "kind none"
            )
        if self.kind == "central" and self.clipping != "flat":
            raise ValueError(f"clipping {self.clipping}: expected flat with central privacy")
        if self.kind == "central" and self.frequencies == "noised":
            raise ValueError(
                "frequencies noised: expected half or file with central privacy, whose accountant "
                "counts updates only"
            )
        return self


class SecureParams(_Section):
    """How the server learns the sum of the updates, and nothing of a single one.

    Both kinds hold against a server that follows the protocol and looks at all it gets. Server
    and clients that collude: `secagg` bears fewer clients than the threshold, `homomorphic` none,
    as every client has the key. Neither bears a server that gives different clients different
    keys for one another: their keys aren't signed by anybody.

    Attributes
    ----------
    kind : str
        `none`; `secagg`: pairwise masks with Shamir shares, SecAgg+ (Bell et al. 2020,
        doi:10.1145/3372297.3417885); `homomorphic`: CKKS (Cheon et al. 2017) by TenSEAL.
    neighbours : int or None
        Of `secagg`: clients that each client shares masks and shares with. None: all the others.
    threshold : float
        Of `secagg`: share of a client's neighbourhood, itself included, that has to stay until
        the masks come off; above one half.
    bits : int
        Of `secagg`: of a quantised value of an update.
    clipping_range : float
        Of `secagg`: values of an update are clipped to ± this. The average of a value is wrong by
        at most clipping_range / (2^bits - 1) and rounding to float32.
    """

    kind: Literal["none", "secagg", "homomorphic"] = "none"
    neighbours: int | None = Field(None, ge=2)
    threshold: float = Field(0.6, gt=0.5, le=1)
    bits: int = Field(20, ge=4, le=32)
    clipping_range: float = Field(4.0, gt=0)


LEAST_CLIENTS = {"mean": (1, 0), "krum": (3, 2), "multi_krum": (3, 2)} | dict.fromkeys(
    ("trimmed_mean", "median"), (1, 2)
)
"""By rule: (a, b), where f hostile clients need a + b f clients in all."""


class RobustParams(_Section):
    """How the server guards the average against single clients.

    All of it, but the bound that a client puts on its own update, looks at single updates, which
    secure aggregation hides: the two can't be combined.

    Attributes
    ----------
    rule : str
        `mean` (by people), `krum`, `multi_krum` (Blanchard et al. 2017, arXiv:1703.02757),
        `trimmed_mean` or `median` by coordinate (Yin et al. 2018, arXiv:1803.01498). All but the
        mean count clients, `trimmed_mean` and `median` whatever number of people they have.
    hostile : int
        Clients of a round that the rule is to bear.
    screen : bool
        Quarantine updates by norm and direction, too, before the rule.
    norm_factor : float
        Longer than this many times the median norm of the round, or shorter than its inverse, is
        quarantined by the screen: scaled updates, and clients that did nothing.
    least_cosine : float
        Updates whose cosine to the coordinate-wise median of the round is less are quarantined by
        the screen.
    update_norm : float or None
        Declared bound of a client's update (L2): clients scale theirs down to it, and one that is
        longer is quarantined. It costs no privacy.
    """

    rule: Literal["mean", "krum", "multi_krum", "trimmed_mean", "median"] = "mean"
    hostile: int = Field(0, ge=0)
    screen: bool = False
    norm_factor: float = Field(3.0, gt=1)
    least_cosine: float = Field(0.0, ge=-1, lt=1)
    update_norm: float | None = Field(None, gt=0)

    @property
    def single_updates(self) -> str:
        """The option that needs to see single updates, or empty."""
        if self.rule != "mean":
            return f"robust.rule {self.rule}"
        return "robust.screen" if self.screen else ""

    def least_clients(self, hostile: int) -> int:
        """Clients that the rule needs to bear `hostile` hostile ones."""
        base, each = LEAST_CLIENTS[self.rule]
        return base + each * hostile

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.hostile and self.rule == "mean":
            raise ValueError("hostile: the mean bears no hostile client; take another rule, or 0")
        return self


class CompressionParams(_Section):
    """How updates are compressed on their way up.

    With local privacy, what is compressed has been noised already: it costs no privacy. Secure
    aggregation sums integers of its own (`secure.bits`) and can't be combined with it.

    Attributes
    ----------
    kind : str
        `none`; `quantise`: each value to one of 2^bits levels between the least and the greatest
        of its array, up or down at random, so that its expectation is kept (QSGD, Alistarh et
        al. 2017, arXiv:1610.02132); `top_k`: the largest values only, what was left out is added
        to the next round's update (error feedback; Stich et al. 2018, arXiv:1809.07599), which
        is biased in a single round.
    bits : int
        Of `quantise`: 8 or 4.
    top_share : float
        Of `top_k`: share of the values that are sent.
    """

    kind: Literal["none", "quantise", "top_k"] = "none"
    bits: int = 8
    top_share: float = Field(0.05, gt=0, le=1)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.bits not in (4, 8):
            raise ValueError(f"bits: {self.bits}, expected 4 or 8")
        return self


class AggregationParams(_Section):
    """How the server combines the clients' models, and what it sees of them.

    Attributes
    ----------
    strategy : str
        `fedavg`, `fedprox` or `fedadam`, which takes a step of Adam by the clients' average. Where
        clients take one step of SGD each, that is the step that one client with all the people
        would take.
    proximal_mu : float
        Weight of FedProx' term mu/2 |w - w_server|² at the clients.
    server_learning_rate : float
        Of FedAdam; the clients' own then matters only beside `secure.clipping_range`.
    secure : SecureParams
        Whether the server only sees the sum of updates.
    robust : RobustParams
        Guards against hostile or broken clients.
    compression : CompressionParams
        Of updates.
    """

    strategy: Literal["fedavg", "fedprox", "fedadam"] = "fedadam"
    proximal_mu: float = Field(0.1, ge=0)
    server_learning_rate: float = Field(0.4, gt=0)
    secure: SecureParams = _default(SecureParams)
    robust: RobustParams = _default(RobustParams)
    compression: CompressionParams = _default(CompressionParams)

    @model_validator(mode="after")
    def _secure(self) -> Self:
        kind = self.secure.kind
        if kind == "none":
            return self
        if self.robust.single_updates:
            raise ValueError(
                f"secure.kind {kind}: can't be combined with {self.robust.single_updates}, which "
                "needs to see single updates; only robust.update_norm, which clients put on "
                "their own, is left"
            )
        if self.compression.kind != "none":
            raise ValueError(
                f"secure.kind {kind}: can't be combined with compression.kind "
                f"{self.compression.kind}; expected none, and fewer secure.bits"
            )
        return self


# Where a server's noise or average does without a step of its own, the clients take Adam's.
_CLIENTS_ADAM: dict[str, dict[str, Any]] = {"training": {"optimiser": "adam", "learning_rate": 0.4}}
_CENTRAL: dict[str, dict[str, Any]] = {
    "aggregation": {"strategy": "fedavg"},
    "training": {"local_steps": 10, "learning_rate": 0.05},
    "privacy": {"clipping": "flat", "frequencies": "half"},
}


class FederatedParams(_Section):
    """Parameters of `vae-federated`.

    Attributes
    ----------
    federation : FederationParams
    training : TrainingParams
    privacy : PrivacyParams
    aggregation : AggregationParams
    """

    federation: FederationParams = _default(FederationParams)
    training: TrainingParams = _default(TrainingParams)
    privacy: PrivacyParams = _default(PrivacyParams)
    aggregation: AggregationParams = _default(AggregationParams)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, value: object) -> object:
        """In sections; and what isn't given, where the defaults wouldn't do."""
        if not isinstance(value, dict):
            return value
        given = sectioned(value)

        def asked(section: str, key: str) -> object:
            return of.get(key) if isinstance(of := given.get(section), dict) else None

        def fill(defaults: dict[str, dict[str, Any]]) -> None:
            for section, of_section in defaults.items():
                if isinstance(own := given.setdefault(section, {}), dict):
                    given[section] = of_section | own

        if asked("privacy", "kind") == "central":
            fill(_CENTRAL)
        if asked("aggregation", "strategy") not in (None, "fedadam"):
            fill(_CLIENTS_ADAM)
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        robust, secure = self.aggregation.robust, self.aggregation.secure.kind
        drawn, needed = self.federation.drawn, robust.least_clients(robust.hostile)
        if self.privacy.kind == "central" and self.aggregation.strategy == "fedadam":
            raise ValueError(
                "aggregation.strategy fedadam: expected fedavg or fedprox with central privacy, "
                "whose noise is added to an average"
            )
        if drawn < needed:
            raise ValueError(
                f"aggregation.robust.rule {robust.rule}: {drawn} clients a round; expected at "
                f"least {needed} to bear {robust.hostile} hostile ones"
            )
        if self.privacy.central and robust.single_updates:
            raise ValueError(
                f"aggregation.{robust.single_updates}: can't be combined with central privacy, "
                "whose noise is made for an average of all clients' updates; what is chosen among "
                "them before it isn't covered"
            )
        if secure != "none" and drawn < 3:
            raise ValueError(
                f"aggregation.secure.kind {secure}: {drawn} clients a round; expected at least 3, "
                "as each of two learns the other's update from the sum"
            )
        if secure != "none" and self.privacy.central:
            raise ValueError(
                f"aggregation.secure.kind {secure}: can't be combined with central privacy, whose "
                "server clips each update"
            )
        if self.privacy.shared:
            self._check_shared()
        return self

    def _check_shared(self) -> None:
        secure, norm = self.aggregation.secure, self.aggregation.robust.update_norm
        training, privacy = self.training, self.privacy
        neighbours = secure.neighbours
        for holds, what in (
            (secure.kind != "none", f"aggregation.secure.kind {secure.kind}, expected another"),
            (privacy.kind == "local", f"privacy.kind {privacy.kind}, expected local"),
            (training.optimiser == "sgd", f"training.optimiser {training.optimiser}, expected sgd"),
            (training.local_steps == 1, f"training.local_steps {training.local_steps}, expected 1"),
            (privacy.clipping != "adaptive", "privacy.clipping adaptive, expected another"),
            (norm is None, f"aggregation.robust.update_norm {norm}, expected none"),
            (neighbours is None, f"aggregation.secure.neighbours {neighbours}, expected none: all"),
        ):
            if not holds:
                raise ValueError(
                    f"privacy.noise shared: {what}: what the server sees has to be the sum of "
                    "gradients and noise of a known number of clients"
                )

    def changed(self, **sections: Mapping[str, Any]) -> Self:
        """A copy with other values in some sections, which aren't checked."""
        copies = {key: getattr(self, key).model_copy(update=of) for key, of in sections.items()}
        return self.model_copy(update=copies)

    def client_rate(self, round_number: int) -> float:
        """The clients' learning rate in a round, counted from 1."""
        adam = self.aggregation.strategy == "fedadam"  # whose server's rate follows the schedule
        return self.training.learning_rate * (
            1 if adam else self.training.rate_factor(round_number)
        )

    def unrepeatable(self) -> str:
        """Protective noise, unless it was asked for from the seed."""
        if not self.privacy.noised or self.privacy.repeatable_noise:
            return ""
        return "its protective noise comes from the operating system's entropy"

    def needed(self) -> tuple[Module, ...]:
        """TenSEAL where updates are to be encrypted with it."""
        encrypted = self.aggregation.secure.kind == "homomorphic"
        return (Module("tenseal", "haplobench[homomorphic]"),) if encrypted else ()

    def fingerprint(self) -> str:
        """Digests of the files that are named.

        Raises BenchError where one can't be read, or where withdrawn people are named in the
        parameters, which run folders keep.
        """
        withdrawn, initial = self.federation.withdrawn, self.training.initial
        if withdrawn and withdrawn.names:
            raise BenchError(
                "withdrawn: names in a generator's parameters would be kept in run folders; "
                "expected a file"
            )
        named = {
            "partition_file": self.federation.partition_file,
            "frequencies_file": self.privacy.frequencies_file,
            "initial": initial and f"{initial}/model.safetensors",
            "withdrawn": withdrawn and withdrawn.file,
        }
        parts = []
        for key, path in named.items():
            try:
                if path:
                    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                    parts.append(f"{key} {digest}")
            except OSError as error:
                raise BenchError(f"{key}: {path}: {error.strerror}") from None
        if withdrawn:
            withdrawn.read()
        return "; ".join(parts)
