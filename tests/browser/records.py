"""Verdicts to show that no layer has to be judged for: every result there is, on several devices, and what may hurt."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnn_parity.judge.core.results import EDGES, ERROR, FAILED, PASSED, RESULTS, UNSUPPORTED
from rnn_parity.judge.page.verdicts import VERSION, Document, added_up, of_record

ASPECTS = ("forward", "gradients", "state", "stacking", "packed", "layouts", "dropout", "relations", "second_order")
DTYPES = ("float64", "float32", "bfloat16", "float16")
SHARES = {PASSED: 0.8, FAILED: 0.08, UNSUPPORTED: 0.1, ERROR: 0.02}
CERTAIN = {(0, "forward"): FAILED, (1, "packed"): UNSUPPORTED, (2, "dropout"): ERROR}  # in every dtype
HURTS = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"

HEADER = {
    "torch": "2.0",
    "numpy": "2.0",
    "python": "3.11",
    "machine": "x86_64",
    "threads": 1,
    "cuda": None,
    "tf32": False,
    "longdouble_digits": 64,
    "longdouble_is_wider": True,
    "factor": 32.0,
    "copies": 4,
    "seed": 0,
    "date": "2026-01-02T03:04:05+00:00",
    "command": f"rnn-parity judge {HURTS}",
    "not_judged": {"cuda": "no CUDA device"},
}


def document(layers: int, dtypes: Sequence[str] = DTYPES, devices: Sequence[str] = ("cpu", "mps")) -> Document:
    """Return verdicts on so many layers, at random but for `CERTAIN`."""
    drawn = np.random.default_rng(0)
    records = [
        record(drawn, place, aspect, dtype, device)
        for place in range(layers)
        for device in devices
        for dtype in dtypes
        for aspect in ASPECTS
    ]
    return {"version": VERSION, "header": HEADER, "verdicts": added_up(map(of_record, records))}


def record(drawn: np.random.Generator, place: int, aspect: str, dtype: str, device: str) -> dict[str, Any]:
    """Return what the plugin keeps of one test."""
    result = str(drawn.choice(list(SHARES), p=list(SHARES.values())))
    result = CERTAIN.get((place, aspect), result)
    assert result in RESULTS
    ratios = drawn.integers(0, 1000, len(EDGES) + 1) * (np.arange(len(EDGES) + 1) < (18 if result == FAILED else 9))
    worst = {"tensor": "output", "error": float(drawn.random()), "limit": 1e-15}
    worst["ratio"] = worst["error"] / worst["limit"] if place else float("inf")
    judged = {"cases": int(drawn.integers(1, 3000)), "tensors": int(ratios.sum()), "undetermined": 3, "worst": worst}
    wrong = result in (FAILED, ERROR)
    return {
        "implementation": f"package_{place}.layers:GRU" + HURTS * (place == 1),
        "kind": ("gru", "lstm", "rnn")[place % 3],
        **{"device": device, "dtype": dtype, "aspect": aspect, "trial": "equations", "dialect": []},
        **({} if result == UNSUPPORTED else judged | {"ratios": ratios.tolist()}),
        "result": result,
        "message": f"it is wrong {HURTS}\n  case: {aspect}, {dtype}" if wrong else None,
        "reproducer": f"print({place}, {aspect!r}, {dtype!r}, {device!r})  # {HURTS}" if wrong else None,
        "reason": "not supported" if result == UNSUPPORTED else None,
    }


BENCH = {
    "machine": {"cpu": HURTS, "cores": 2, "gpu": None},
    "versions": {"torch": "2.0", "python": "3.11"},
    "date": "2026-01-02T03:04:05",
    "threads": [2],
    "timings": [
        {
            "setting": {"name": kind, "shape": {"B": 10, "T": 30}},
            "step": step,
            "threads": 2,
            "arms": {
                "builtin": {"median": 1.0, "low": 1.0, "high": 1.0},
                "fused": {"median": 0.8, "low": 0.7, "high": 0.95},
            },
        }
        for kind in ("RNN", "GRU")
        for step in ("forward", "training")
    ],
}


def training(implementation: str) -> dict[str, Any]:
    """Return what a task writes of one implementation."""
    return {
        "task": "hello",
        "title": f"It learns {HURTS} for 5 $",
        "implementation": implementation,
        "settings": {"device": "cpu", "seed": 0},
        "data": {"name": "hello"},
        "metric": "accuracy",
        "metric_per_epoch": [0.5, 0.8, 1.0],
        "loss": "loss",
        "loss_per_step": [1 / step for step in range(1, 1000)],
        "versions": {"torch": "2.0"},
    }


SCORE = {
    "machine": {"machine": "a machine"},
    "totals": {"seeds": "0, 1"},
    "pairs": [
        {"defect": "z flipped", "layer": "gru", "caught": "yes"},
        {"defect": HURTS, "layer": "rnn", "caught": "no"},
    ],
}
FINDING = {"answer": "fine", "slowdown": 0.01, "low": -0.01, "high": 0.02, "pairs": 12}
GATE = {
    **{"base": "base 0123456789", "head": "head 9876543210", "tolerance": 0.05, "answer": "fine", "reason": HURTS},
    "timing": {"first": {"findings": {"gru=a:GRU forward": FINDING, "gru=a:GRU training": FINDING}}, "second": None},
}
CALIBRATION = {
    **{"torch": "2.0", "python": "3.11", "device": "cpu", "layers": ["torch.nn"], "factor": 32.0, "cases": {}},
    "rows": [
        {"dtype": dtype, "tensor": "all", "median": 0.3, "p99": 1.6, "max": 8.7, "verdicts": 10} for dtype in DTYPES
    ],
}
