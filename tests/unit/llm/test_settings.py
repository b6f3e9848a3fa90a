"""What the configuration offers is what the client speaks."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from penstock_schemas.results import Usage
from penstock_worker.assembly import checked_target
from penstock_worker.llm.client import FAMILIES
from penstock_worker.money.costing import Costing
from penstock_worker.money.prices import PriceTable
from penstock_worker.settings import ProviderSection


def test_every_family_can_be_configured() -> None:
    """The kinds of the settings are the families, in no other number."""
    assert set(get_args(ProviderSection.model_fields["kind"].annotation)) == set(FAMILIES)


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_a_provider_of_every_kind(kind: str) -> None:
    """The least configuration makes a target that could be called."""
    section = ProviderSection.model_validate({"kind": kind, "base_url": "https://api.example.com"})
    assert checked_target("own/m", {"own": section}).kind == kind


def test_a_deployment_is_priced_as_its_model() -> None:
    """The name of a deployment is in no price table; the configuration says which model is behind it."""
    section = ProviderSection.model_validate(
        {"kind": "azure", "base_url": "https://x.openai.azure.com", "price_refs": {"mine": "azure/gpt-4o-mini"}}
    )
    priced, unknown = (checked_target(f"corp/{model}", {"corp": section}) for model in ("mine", "other"))
    usage, costing = Usage(input_tokens=1000, output_tokens=10), Costing(PriceTable())
    assert costing.cost_of(priced, usage) == PriceTable().price("azure/gpt-4o-mini", usage, datetime.now(UTC))[0]
    assert costing.cost_of(priced, usage) is not None
    assert costing.cost_of(unknown, usage) is None
