"""The catalogue: faults that recurrent layers really had, and others close by, each planted in every layer it fits.

Not here, because no layer can have them by what it computes: a missing vmap rule (pytorch#105982, pytorch#134606), and
torch.compile failing on a layer that is right (pytorch#158007).
"""

from . import calls, cells, dropouts, gradients, kernels, sequences, stacks
from .catalogue import ALL, Defect, variant_of

TOPICS = {
    "cells": cells.DEFECTS,
    "stacks": stacks.DEFECTS,
    "sequences": sequences.DEFECTS,
    "gradients": gradients.DEFECTS,
    "calls": calls.DEFECTS,
    "dropouts": dropouts.DEFECTS,
    "kernels": kernels.DEFECTS,
}
DEFECTS: tuple[Defect, ...] = tuple(defect for defects in TOPICS.values() for defect in defects)

# Importable by name, MODULE:ATTRIBUTE, as the command line and a reproducer need it: GruZFlipped, ...
PLANTED = {(defect.name, variant): defect.plant(variant) for defect in DEFECTS for variant in defect.variants}
globals().update({layer.__name__: layer for layer in PLANTED.values()})
for layer in PLANTED.values():
    layer.__module__, layer.__qualname__ = __name__, layer.__name__

__all__ = ["ALL", "DEFECTS", "PLANTED", "TOPICS", "Defect", "variant_of"]
