"""How a kernel is cut to the size of a layer, and which layers one program can take."""

from dataclasses import dataclass
from typing import Any

import torch

from ..call import GATES

KEPT = {"tanh": 2, "relu": 2, "GRU": 5, "LSTM": 6}  # blocks that the forward pass keeps of a step: see the kernels
GRADIENTS = {"tanh": 1, "relu": 1, "GRU": 4, "LSTM": 4}  # and those that the backward pass finds
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
TILE = 16  # sequences of a program: the least that tensor cores multiply
MOST_UNITS = 256


@dataclass(frozen=True)
class Plan:
    """The constants of a kernel, and how it runs.

    Args:
        units: of a block, a power of two.
        blocks: how many of them hold H.
        piece: rows of the recurrent weights that are on the chip at a time; None where these stay.
        precision: of products in float32, "ieee" or "tf32".
        warps: of a program.
        registers: of a thread at most, where ptxas is not to put some into memory to make room for a second program;
            None where it puts fewer there if left to itself. Both were found by compiling, as warps and pieces were.
        stages: how many steps are under way: with 3, what two later ones read is fetched meanwhile.
        pieces: likewise, how many pieces of the weights.
        shared: bytes of shared memory that it takes at most.
    """

    units: int
    blocks: int
    piece: int | None
    precision: str
    warps: int
    registers: int | None
    stages: int
    pieces: int
    shared: int


def plan(cell: str, H: int, dtype: torch.dtype, tf32: bool, shared: int) -> Plan | None:
    """Return how a layer is computed, None where it is not.

    Args:
        cell: as that of `Call`.
        H: hidden units.
        dtype: of the tensors.
        tf32: whether products in float32 may be in TF32.
        shared: bytes of shared memory that a program may have.
    """
    plans = (form(cell, H, dtype, tf32) for form in (staying, streamed))
    return next((plan for plan in plans if plan is not None and plan.shared <= shared), None)


def staying(cell: str, H: int, dtype: torch.dtype, tf32: bool) -> Plan | None:
    """Return a plan whose weights stay on the chip, None where a program's registers do not hold what it needs."""
    units = max(16, 1 << (H - 1).bit_length())
    ieee = dtype == torch.float32 and not tf32
    # Without tensor cores a product is unrolled over registers, and for more units these do not suffice.
    if dtype not in DTYPES or units > (64 if ieee else 128):
        return None
    if ieee:
        warps, limited = min(16, units // 4), units >= 64
    else:
        warps = 4 if units <= 32 else 16 if units == 128 and not tf32 else 8
        limited = not tf32 or GATES[cell] * units <= 256
    stages = 1 if units == 128 else 2 if units >= (32 if ieee else 64) and dtype == torch.float32 else 3
    block = TILE * units
    fetched = (stages - 1) * (KEPT[cell] + 1) * block * dtype.itemsize
    shared = GATES[cell] * units**2 * dtype.itemsize + fetched + 4 * block * 4  # last: to move blocks between threads
    registers = min(255, 2048 // warps) if limited else None
    return Plan(units, 1, None, "tf32" if tf32 else "ieee", warps, registers, stages, 1, shared)


def streamed(cell: str, H: int, dtype: torch.dtype, tf32: bool) -> Plan | None:
    """Return a plan that reads the weights anew at each step, None where the registers do not hold the state."""
    if dtype not in DTYPES or H > MOST_UNITS:
        return None
    ieee = dtype == torch.float32 and not tf32
    units, pieces = max(16, min(128, 1 << (H - 1).bit_length())), 3
    blocks = -(-H // units)
    piece = 8 if ieee and GATES[cell] * blocks <= 6 else min(units, 64 // dtype.itemsize)
    fetched = (pieces - 1) * GATES[cell] * piece * (units + TILE) * dtype.itemsize
    shared = fetched + 4 * TILE * units * 4  # last: as above
    registers = 255 if ieee or GATES[cell] == 1 else None
    warps = max(4, units // 16)
    return Plan(units, blocks, piece, "tf32" if tf32 else "ieee", warps, registers, 1, pieces, shared)


def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a program may have; 0 on cards without tensor cores for these dtypes."""
    card: Any = torch.cuda.get_device_properties(device)  # its type does not know all of its attributes
    return int(card.shared_memory_per_block_optin) if card.major >= 8 else 0


def tf32_allowed() -> bool:
    """Whether PyTorch may take products of float32 in TF32, whatever of its settings says so."""
    return bool(torch.backends.cuda.matmul.fp32_precision == "tf32")
