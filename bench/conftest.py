"""What a saved benchmark tells of the machine: what explains a time, and nothing that names a host."""

import os
from typing import Any

import torch


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Keep the kind of machine, add torch, drop host name and kernel release."""
    cpu = machine_info.pop("cpu", {})
    kept = {name: machine_info[name] for name in ("system", "machine", "python_version")}
    machine_info.clear()
    machine_info |= kept | {
        "cpu": cpu.get("brand_raw", "unknown"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def pytest_benchmark_update_commit_info(commit_info: dict[str, Any]) -> None:
    """Keep the commit, drop the names of the folder and the branch."""
    kept = {name: commit_info.get(name) for name in ("id", "time", "dirty")}
    commit_info.clear()
    commit_info |= kept


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Keep the statistics, drop the single timings: they are most of the file."""
    for benchmark in output_json["benchmarks"]:
        benchmark["stats"].pop("data", None)
