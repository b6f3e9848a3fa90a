"""``penstock health``: for a container's probe, so it asks one port and loads little."""

from __future__ import annotations

import http.client
import json
from typing import Annotated, Any

import typer

from penstock.cli import exits
from penstock.cli.commands import single
from penstock.cli.output import Output
from penstock.cli.text import one_line

_TIMEOUT_S = 3.0


def health(
    ctx: typer.Context,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", min=1, max=65_535, help="instead of worker.health_port")
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="instead of worker.processes: as many ports")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="whether it answers, not whether it takes jobs")] = False,
) -> None:
    """Ask the workers on this machine whether they take jobs: 0 when all do, else 1.

    A worker answers on a loopback port when worker.health_port says so.
    """
    out = Output(ctx.obj)
    first, count = _ports(ctx, port, processes)
    answers = [_ask(at, "/live" if live else "/ready") for at in range(first, first + count)]
    for at, (well, report) in enumerate(answers, start=first):
        if out.as_json:
            out.json({"port": at, "well": well, **report})
        else:
            out.line(one_line(_line(at, well, report)))
    raise typer.Exit(exits.DONE if all(well for well, _ in answers) else exits.SOME_FAILED)


def _ports(ctx: typer.Context, port: int | None, processes: int | None) -> tuple[int, int]:
    """The first port, and how many."""
    if port is not None:
        return port, processes or 1
    from penstock.cli.health_settings import configured

    found, count = configured(ctx.obj)
    if not found:
        raise typer.BadParameter("no worker.health_port in the configuration; give --port")
    return found, processes or count


def _ask(port: int, path: str) -> tuple[bool, dict[str, Any]]:
    """Whether the worker there is well, and what it tells; one that does not answer in time is not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        report = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return False, {"why_not": f"no answer ({type(error).__name__})"}
    finally:
        connection.close()
    return answer.status == http.client.OK, report if isinstance(report, dict) else {}


def _line(port: int, well: bool, report: dict[str, Any]) -> str:
    if "ready" not in report:
        return f"{port}\t{report.get('why_not', 'is no worker')}"
    told = f"{port}\t{'ready' if report['ready'] else report['why_not']}\tleases {report['leases_held']}"
    age_s = report["redis_contact_age_s"]
    return f"{told}\tredis {'never' if age_s is None else f'{age_s:.1f} s ago'}"


app = single(health, "penstock health --port 8900", "penstock health --processes 4 --json")
