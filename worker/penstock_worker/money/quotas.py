"""The quotas of the configuration: told to all producers through Redis, kept by the worker where it caps answers."""

from __future__ import annotations

from collections.abc import Mapping

from penstock_schemas.errors import ConfigurationError
from penstock_schemas.quotas import SCOPES, Quota, is_quota_scope, scopes_of
from penstock_store.batcher import Batcher
from penstock_store.scripts import load_script

_TELL = load_script("penstock_worker.money", "tell_quotas")


class Quotas:
    """The quotas of a worker's configuration, by scope. Raises ConfigurationError for a scope that is none."""

    def __init__(self, quotas: Mapping[str, Quota]) -> None:
        for scope, quota in quotas.items():
            if not is_quota_scope(scope):
                raise ConfigurationError(f'quotas."{scope}"', f"is for nobody; name {SCOPES}")
            if quota == Quota():
                raise ConfigurationError(f'quotas."{scope}"', "bounds nothing; give it a limit, or leave it out")
        self._quotas = quotas

    def output_cap(self, tenant: str, user: str | None) -> int | None:
        """The most tokens of one answer for this tenant and user; None: no cap of theirs."""
        if not self._quotas:
            return None
        found = (next((q for s in group if (q := self._quotas.get(s))), None) for group in scopes_of(tenant, user))
        return min((q.max_output_tokens for q in found if q and q.max_output_tokens), default=None)

    async def tell(self, batcher: Batcher) -> None:
        """Put them into Redis in the place of those that were told before; a worker that has none changes nothing."""
        if self._quotas:
            flat = [part for scope, quota in self._quotas.items() for part in (scope, quota.to_json())]
            await batcher.call(_TELL, [], flat)
