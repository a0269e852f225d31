"""What a second version of the workflows may look like: a guarded change, and one that is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

from owc_deploy.rollout.temporal.workflows import RingWorkflow, RolloutWorkflow, Walk


class _Guarded(Walk):
    async def _next(self, order: dict[str, Any], ring: str) -> dict[str, Any]:
        # Only workflows that begin with this version do it.
        if workflow.patched("look-around-first"):
            await workflow.execute_activity(
                "look-around", order, start_to_close_timeout=timedelta(minutes=1)
            )
        return await super()._next(order, ring)


class _Careless(Walk):
    async def _next(self, order: dict[str, Any], ring: str) -> dict[str, Any]:
        await workflow.execute_activity(
            "look-around", order, start_to_close_timeout=timedelta(minutes=1)
        )
        return await super()._next(order, ring)


@workflow.defn(name="owc-deploy-rollout")
class SecondRollout(_Guarded, RolloutWorkflow):
    @workflow.run
    async def run(self, order: dict[str, Any]) -> str:
        return await super().run(order)


@workflow.defn(name="owc-deploy-ring")
class SecondRing(_Guarded, RingWorkflow):
    @workflow.run
    async def run(self, order: dict[str, Any]) -> None:
        await super().run(order)


@workflow.defn(name="owc-deploy-ring")
class CarelessRing(_Careless, RingWorkflow):
    @workflow.run
    async def run(self, order: dict[str, Any]) -> None:
        await super().run(order)
