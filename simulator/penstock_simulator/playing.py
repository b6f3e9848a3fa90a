"""From an answer's bytes to the steps that play it, under the faults of the last two stages."""

from __future__ import annotations

from penstock_simulator.bill import BilledCall
from penstock_simulator.delivery import Charge, Cut, Packet, Step, deliver, plain_steps
from penstock_simulator.faults import Fault, Stage


def faults_at(faults: tuple[Fault, ...], stage: Stage) -> tuple[Fault, ...]:
    """Those of *faults* that step in at *stage*."""
    return tuple(fault for fault in faults if fault.kind.stage is stage) if faults else ()


def play(
    packet: Packet, faults: tuple[Fault, ...], call: BilledCall, keep_alive: bool, *, generated: bool
) -> list[Step]:
    """The steps for *packet*; *generated* says whether its generation is charged with them."""
    for fault in faults_at(faults, Stage.BYTES):
        packet = fault.kind.apply(fault.params, packet)
    call.status = packet.status
    delivery = deliver(packet, generated=generated)
    steps = plain_steps(delivery)
    for fault in faults_at(faults, Stage.DELIVERY):
        steps = fault.kind.apply(fault.params, delivery)
    if keep_alive and not packet.keep_alive:
        steps.append(Cut(reset=False))
    return _charged(steps, generated and all(fault.billed for fault in faults))


def _charged(steps: list[Step], billed: bool) -> list[Step]:
    """*steps* with a charge in them, or with none."""
    if not billed:
        return [step for step in steps if not isinstance(step, Charge)]
    return steps if any(isinstance(step, Charge) for step in steps) else [Charge(), *steps]
