"""The part of the settings that says where jobs go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from penstock_schemas.jobs import Name
from penstock_schemas.limits import NAME_PATTERN
from penstock_store.settings import Section
from penstock_worker.routing.conditions import codes_named

Scalar = str | int | float | bool
OneOrMore = Annotated[list[Scalar], Field(min_length=1)]
Label = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]


class WhenSection(Section):
    """When a target is asked; all of it must hold."""

    input_tokens_from: int | None = Field(default=None, ge=0)
    """The least of input, by an upper bound for this model."""
    input_tokens_to: int | None = Field(default=None, ge=0)
    """The most of input, inclusive."""
    tasks: list[str] | None = Field(default=None, min_length=1)
    tenants: list[Name] | None = Field(default=None, min_length=1)
    lanes: list[Literal["interactive", "standard", "bulk"]] | None = Field(default=None, min_length=1)
    metadata: dict[str, OneOrMore] | None = None
    """Of the job: name -> values, one of which it must have."""
    fields: dict[str, OneOrMore] | None = None
    """Of the task's input: field -> values, one of which it must have."""
    time_left_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The least time to the job's deadline; a job without one has enough."""
    after: list[str] | None = Field(default=None, min_length=1)
    """What the target before it must have come to: codes, or ``timeout``, ``access``, ``closed``, ``too_long``,
    ``money`` or ``bad_answer`` for several."""

    @field_validator("after")
    @classmethod
    def _known(cls, names: list[str] | None) -> list[str] | None:
        codes_named(tuple(names or ()))
        return names

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        least, most = self.input_tokens_from, self.input_tokens_to
        if least is not None and most is not None and least > most:
            raise ValueError(f"input_tokens_from ({least}) is above input_tokens_to ({most}): it would never be asked")
        return self


class CascadeSection(Section):
    """How good a target's answer must be; else the next is asked."""

    quality: Literal["ok", "repaired"]
    """``ok``: nothing mended, nothing doubtful. ``repaired``: nothing doubtful."""
    min_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    """The least of the task's own measure; None asks for none."""


class ArmSection(Section):
    """One arm of an experiment; what it does not say is the route's."""

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Its share is this part of the sum."""
    targets: list[str] | None = Field(default=None, min_length=1)
    prompt: str | None = None


class RouteTerms(Section):
    """What a route's section has beside its plain keys."""

    targets: list[str] = Field(min_length=1)
    """``provider/model``, in order of preference."""
    when: dict[str, WhenSection] = Field(default_factory=dict)
    """Target -> when it is asked."""
    cascade: dict[str, CascadeSection] = Field(default_factory=dict)
    """Target -> how good its answer must be for the next not to be asked."""
    experiment: Label | None = None
    """Name of an experiment that parts the jobs between ``arms`` by their keys; another name parts them anew."""
    arms: dict[Label, ArmSection] = Field(default_factory=dict)

    @property
    def all_targets(self) -> list[str]:
        """Every target that a job of this route may be sent to, those of arms included."""
        return list(dict.fromkeys(name for names in self._lists() for name in names))

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if (self.experiment is None) != (not self.arms) or len(self.arms) == 1:
            raise ValueError("an experiment has a name, `experiment`, and at least two `arms`")
        for names in self._lists():
            self._check(names)
        known = self.all_targets
        for key, table in (("when", self.when), ("cascade", self.cascade)):
            if unknown := next((name for name in table if name not in known), None):
                raise ValueError(f"{key}: {unknown!r} is none of its targets")
        return self

    def _lists(self) -> Iterable[list[str]]:
        return [self.targets, *(arm.targets for arm in self.arms.values() if arm.targets)]

    def _check(self, names: list[str]) -> None:
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"targets: {twice!r} stands there twice, and the second is never asked")
        if (first := self.when.get(names[0])) and first.after:
            raise ValueError(f"when: {names[0]!r} is the first, so that it comes after nothing and is never asked")
        if names[-1] in self.cascade:
            raise ValueError(f"cascade: {names[-1]!r} is the last, so that there is no better one to ask")
