"""The alerts that were told."""

from redis.asyncio import Redis

from penstock_schemas import keys


async def alerts(redis: Redis) -> list[tuple[str, str]]:
    """Code and scope of each, in order."""
    told = [entry for _, entry in await redis.xrange(keys.EVENTS)]
    return [(entry[b"alert"].decode(), entry[b"scope"].decode()) for entry in told if entry[b"type"] == b"alert"]
