"""What ``replay`` and ``purge`` share: how they are asked for, what they tell, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import typer

from penstock.cli import exits
from penstock.cli.letter_lines import plan_json, plan_text
from penstock.cli.output import Output, OutputClosed
from penstock.cli.parsing import When, ids_of
from penstock.cli.session import Session
from penstock.cli.text import one_line
from penstock.dead_letters import DeadLetters
from penstock.letters import LetterFilter, LetterOutcome
from penstock_schemas.errors import JobNotFoundError, UnavailableError

FULL_ID = 32


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters, as it was asked: ids, or a filter, or all."""

    ids: list[str]
    task: str | None = None
    code: str | None = None
    since: When | None = None
    until: When | None = None
    everything: bool = False

    def check(self) -> None:
        """Raise BadParameter unless it is exactly one of ids, a filter, and all."""
        filtered = any(part is not None for part in (self.task, self.code, self.since, self.until))
        if not self.ids and not filtered and not self.everything:
            raise typer.BadParameter("say which: ids, a filter (--task, --error, --since, --until), or --all")
        if bool(self.ids) + filtered + self.everything > 1:
            raise typer.BadParameter("give ids, or a filter, or --all; not several of them")

    async def resolve(self, session: Session, letters: DeadLetters) -> list[str] | LetterFilter:
        """What :class:`DeadLetters` takes."""
        if self.ids:
            return [one if len(one) >= FULL_ID else await letters.resolve(one) for one in self.ids]
        return await self.where(session)

    async def where(self, session: Session) -> LetterFilter:
        """The filter; of ids and of all it lets everything through."""
        return LetterFilter(self.task, self.code, await session.at(self.since), await session.at(self.until))


@dataclass(slots=True)
class _Tally:
    """What was done so far."""

    verb: str
    done: int = 0
    refused: list[LetterOutcome] = field(default_factory=list)


async def replay(
    session: Session, letters: DeadLetters, choice: Choice, *, target: str | None, dry_run: bool, yes: bool
) -> int:
    """``replay``; returns the exit code."""
    chosen = await choice.resolve(session, letters)
    if dry_run or not choice.ids:
        plan = await letters.plan(chosen, target=target)
        if dry_run:
            for error in plan.refused:
                session.out.error(f"penstock: {one_line(error.message)}")
            _print_plan(session.out, plan_json(plan), plan_text(plan))
            return exits.DONE
        session.out.talk(plan_text(plan))
        if choice.everything and not yes:
            return _unconfirmed(session.out, "replay --all runs all of these again")
        total = plan.count
    else:
        total = len(choice.ids)
    return await _act(session.out, _Tally("replayed"), letters.replay(chosen, target=target), total, choice)


async def purge(session: Session, letters: DeadLetters, choice: Choice, *, dry_run: bool, yes: bool) -> int:
    """``purge``; returns the exit code."""
    chosen = await choice.resolve(session, letters)
    total = len(chosen) if isinstance(chosen, list) else await _count(letters, chosen)
    if dry_run:
        _print_plan(session.out, {"matched": total}, f"{total} matched")
        return exits.DONE
    if not choice.ids and not yes:
        session.out.talk(f"{total} matched")
        return _unconfirmed(session.out, "purge forgets all of these for good") if total else exits.DONE
    return await _act(session.out, _Tally("purged"), letters.purge(chosen), total, choice)


async def _act(out: Output, tally: _Tally, outcomes: AsyncIterator[LetterOutcome], total: int, choice: Choice) -> int:
    """Do it, telling of each; what is done is done, also when nobody reads any more or Redis goes away."""
    try:
        with out.progress(tally.verb.capitalize(), total) as advance:
            async for outcome in outcomes:
                advance(1)
                if outcome.refused is not None:
                    tally.refused.append(outcome)
                    continue
                tally.done += 1
                with suppress(OutputClosed):
                    _print_done(out, tally.verb, outcome)
    except UnavailableError as error:
        out.error(f"penstock: {error.message}. {tally.done} {tally.verb}; the same command does the rest")
        return exits.UNREACHABLE
    return _end(out, tally, choice)


def _end(out: Output, tally: _Tally, choice: Choice) -> int:
    for outcome in tally.refused:
        assert outcome.refused is not None
        if choice.ids:
            out.error(f"penstock: {one_line(outcome.refused.message)}")
    if not choice.ids and not tally.done and not tally.refused:
        out.talk("0 matched")
        return exits.DONE
    others = f"; {len(tally.refused)} were not, someone else was faster" if tally.refused and not choice.ids else ""
    out.talk(f"{tally.done} {tally.verb}{others}")
    if not choice.ids or not tally.refused:
        return exits.DONE
    missing = all(isinstance(outcome.refused, JobNotFoundError) for outcome in tally.refused)
    return exits.SOME_FAILED if missing else exits.REFUSED


def _print_done(out: Output, verb: str, outcome: LetterOutcome) -> None:
    if out.as_json:
        run = {} if outcome.run is None else {"run": outcome.run}
        out.json({"job_id": outcome.job_id, verb: True, **run})
    else:
        out.line(f"{outcome.job_id}\t{verb}" + (f"\trun {outcome.run}" if outcome.run else ""))


def _print_plan(out: Output, as_json: dict[str, object], text: str) -> None:
    if out.as_json:
        out.json(as_json)
    else:
        out.line(text)


def _unconfirmed(out: Output, what: str) -> int:
    out.error(f"penstock: {what}; confirm with --yes")
    return exits.REFUSED


async def _count(letters: DeadLetters, where: LetterFilter) -> int:
    count = 0
    async for _ in letters.letters(where, tidy=False):
        count += 1
    return count


def choice_of(
    ids: list[str] | None,
    task: str | None,
    code: str | None,
    times: tuple[When | None, When | None],
    everything: bool,
) -> Choice:
    """The choice that the options make, checked."""
    choice = Choice(ids_of(ids or []), task, code, *times, everything)
    if ids and not choice.ids:
        raise typer.BadParameter("no id on standard input")
    choice.check()
    return choice
