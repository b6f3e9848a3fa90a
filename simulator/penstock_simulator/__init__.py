"""A local LLM provider that speaks OpenAI's wire format and fails on command, with a bill of its own."""

from penstock_simulator.ask import Ask
from penstock_simulator.bill import BilledCall, read_bill
from penstock_simulator.faults import FAULTS
from penstock_simulator.faults.spec import FaultSpecError
from penstock_simulator.process import SimulatorProcess
from penstock_simulator.simulator import Simulator
from penstock_simulator.stats import Stats

__all__ = [
    "Simulator",
    "SimulatorProcess",
    "Ask",
    "BilledCall",
    "read_bill",
    "Stats",
    "FAULTS",
    "FaultSpecError",
]
