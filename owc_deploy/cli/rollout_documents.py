"""The fleet's documents while a rollout is walked: that takes days, and others change them."""

from __future__ import annotations

from dataclasses import replace

from owc_deploy.cli.view import narrate
from owc_deploy.rollout.checkout import Checkout, CheckoutDiffersError, moved
from owc_deploy.rollout.decide import Calendar
from owc_deploy.rollout.hands import ServerHands
from owc_deploy.rollout.ports import Tools
from owc_deploy.rollout.standing import Standing


class Documents:
    """What a rollout is walked with, read again whenever it has waited."""

    def __init__(self, tools: Tools, standing: Standing, hands: ServerHands) -> None:
        self._checkout = Checkout(tools.fleet.root, narrate)
        self._tools = tools
        self._standing = standing
        self._hands = hands

    def read_again(self) -> tuple[ServerHands, Calendar]:
        """Return what to go on with: windows, freeze days and servers as they are written now.

        Raises DocumentsInvalidError, or CheckoutDiffersError when a site of the rollout is to be
        another one now.
        """
        fleet = self._checkout.fleet()
        if fleet is not self._hands.fleet:
            differing = moved(fleet, self._standing)
            if differing:
                rollout_id = self._standing.rollout.rollout_id
                raise CheckoutDiffersError(
                    f"rollout {rollout_id} stops here: {differing}",
                    hint="owc-deploy rollout start --supersede; or owc-deploy rollout resume"
                    f" {rollout_id}, which leaves these sites as they are",
                )
            self._tools.executor.use(fleet)
            self._hands = replace(self._hands, fleet=fleet)
        return self._hands, Calendar.of(fleet)
