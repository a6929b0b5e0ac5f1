"""A test for each aspect of a recurrent layer.

The plugin gives each test every trial of the aspect that it is named after, and every layer, device and dtype that is
to be judged; `ask_parity` asks that trial of that layer, in a process of the layer's own.
"""

from rnn_parity.judge.plugin import Ask


def test_forward(ask_parity: Ask) -> None:
    """One layer, one direction: output, h_n and c_n are what the equations give."""
    ask_parity()


def test_gradients(ask_parity: Ask) -> None:
    """Every gradient, for a loss on any of the results, in train and eval, with some parameters frozen."""
    ask_parity()


def test_state(ask_parity: Ask) -> None:
    """h_0 and c_0: given, zero or absent, carried from call to call, and none kept inside."""
    ask_parity()


def test_stacking(ask_parity: Ask) -> None:
    """Several layers and both directions, forward and backward, each with its own state."""
    ask_parity()


def test_packed(ask_parity: Ask) -> None:
    """PackedSequence, sorted or not, lengths equal, distinct and 1, in any stack, forward and backward."""
    ask_parity()


def test_layouts(ask_parity: Ask) -> None:
    """batch_first, unbatched, and memory that is transposed, expanded, offset or strided; nothing is changed."""
    ask_parity()


def test_dropout(ask_parity: Ask) -> None:
    """Dropout between the layers, whatever random numbers it takes."""
    ask_parity()


def test_relations(ask_parity: Ask) -> None:
    """What two runs must have to do with each other; it needs no oracle."""
    ask_parity()


def test_repeatability(ask_parity: Ask) -> None:
    """The same call gives the same result, with the same seed where there is dropout."""
    ask_parity()


def test_nonfinite(ask_parity: Ask) -> None:
    """NaN and infinity go where the equations carry them, and nowhere else."""
    ask_parity()


def test_second_order(ask_parity: Ask) -> None:
    """The gradient of a sum over the gradients is what the equations give."""
    ask_parity()


def test_interface(ask_parity: Ask) -> None:
    """Names, initial values and errors are those of the built-in, for layers that are to replace it."""
    ask_parity()
