"""Reports: what trades earned, drawn on a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from store.api.base import Core, identifier_or_none


class Reports(Core):
    """The part of the store that draws reports."""

    async def report(
        self,
        identifier: str | None = None,
        *,
        symbol: str | None = None,
        side: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        timeframe: str | None = None,
        by_setting: Sequence[str] = ("params.leverage",),
    ) -> str:
        """Draw what a user's trades earned (None: everybody's), and under which settings, as one page of HTML (5 MB).

        It needs nothing beside itself: no server, no network. All of it is of one moment; secrets are masked. `since`,
        `until`: exits from then on, and before then. `timeframe`: of the candles (None: what fits). `by_setting`: keys
        of params or dual_side to group results by. Raises ConfigError (the extra settings-store[report] isn't
        installed), UnknownUser, InvalidArgument.
        """
        from store.report.content import Chosen
        from store.report.page import page, plotly_source
        from store.report.reading import read_content

        plotly = plotly_source()
        chosen = Chosen(identifier_or_none(identifier), symbol, side, since, until)
        return page(await read_content(self, chosen, timeframe, by_setting), plotly)
