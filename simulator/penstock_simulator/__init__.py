"""A local LLM provider that speaks six wire formats and fails on command, with a bill of its own.

The names are loaded at their first use, so that the pytest plugin costs a project that does not use it nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_simulator.ask import Ask
    from penstock_simulator.bill import BilledCall, read_bill
    from penstock_simulator.faults import FAULTS
    from penstock_simulator.faults.spec import FaultSpecError
    from penstock_simulator.process import SimulatorProcess
    from penstock_simulator.simulator import Simulator
    from penstock_simulator.stats import Stats
    from penstock_simulator.worker_process import WorkerProcess

__all__ = [
    "Simulator",
    "SimulatorProcess",
    "WorkerProcess",
    "Ask",
    "BilledCall",
    "read_bill",
    "Stats",
    "FAULTS",
    "FaultSpecError",
]

_MODULES = {
    "Simulator": "simulator",
    "SimulatorProcess": "process",
    "WorkerProcess": "worker_process",
    "Ask": "ask",
    "BilledCall": "bill",
    "read_bill": "bill",
    "Stats": "stats",
    "FAULTS": "faults",
    "FaultSpecError": "faults.spec",
}

if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
