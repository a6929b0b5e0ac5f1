"""Who is judged: for each package what is installed, and its layers, each by the client that reaches it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CLIENTS = "rnn_parity.world.clients"


@dataclass(frozen=True)
class Entry:
    """A layer.

    Args:
        name: of the layer, as its package has it.
        kind: "rnn", "gru" or "lstm".
        client: MODULE:ATTRIBUTE in `clients`.
        reached: how, in one clause.
        dialect: what its equations have that those of torch.nn have not, in one clause.
        differs: by aspect, what is documented to be another way, and where.
        dtypes: it is judged in.
        examples: cases of each trial where it is slow, None for as many as of all.
    """

    name: str
    kind: str
    client: str
    reached: str
    dialect: str = ""
    differs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float64", "float32")
    examples: int | None = None

    @property
    def location(self) -> str:
        """MODULE:ATTRIBUTE for the judge."""
        return f"{CLIENTS}.{self.client}"


@dataclass(frozen=True)
class Package:
    """A package, and an environment for it.

    Args:
        name: of the distribution, whose version is shown.
        requirements: what is installed, from the version on that was seen to work; nothing for PyTorch, which is there.
        entries: its layers.
        variables: of the process that it is judged in.
    """

    name: str
    requirements: tuple[str, ...]
    entries: tuple[Entry, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


def each(name: str, client: str, reached: str, kinds: str = "rnn gru lstm", **more: object) -> tuple[Entry, ...]:
    """Return an entry for each kind; in name and client {} is the kind, {KIND} in the letters of torch.nn."""
    return tuple(
        Entry(name.format(KIND=kind.upper()), kind, client.format(kind, KIND=kind.upper()), reached, **more)
        for kind in kinds.split()
    )
