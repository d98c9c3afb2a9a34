"""What may be asked of a board's page."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict

from benchmark.errors import InvalidInput
from store.as_of import read_moment
from store.board_filters import BoardFilters, usual_order
from store.views import Badge, ExtraData, Order, Sort
from web.board_columns import Column

MANY = 1_000_000_000
"""A page's number beyond which it does not matter."""


class YesNo(StrEnum):
    """An answer."""

    YES = "yes"
    NO = "no"


class BoardQuery(BaseModel):
    """Which part of the board is shown, in which order: all of it stands in the page's address."""

    model_config = ConfigDict(frozen=True)

    search: str = ""
    badge: Badge | None = None
    extra_data: ExtraData | None = None
    flagged: bool | None = None
    as_of: str = ""
    sort: Sort = Sort.BEST
    order: Order | None = None
    """None for the one that is usual for ``sort``."""
    withdrawn: bool = False
    """Whether withdrawn entries are shown too."""
    old_protocol: bool = False
    """Whether entries of an old protocol are shown too."""
    columns: tuple[Column, ...] = ()
    """Which columns are shown, in the order of the table; none for the usual ones."""
    page: int = 1

    @classmethod
    def read(
        cls,
        search: str = "",
        badge: str = "",
        sort: str = "",
        page: str = "",
        *,
        extra_data: str = "",
        flagged: str = "",
        as_of: str = "",
        order: str = "",
        withdrawn: str = "",
        old_protocol: str = "",
        columns: Iterable[str] = (),
    ) -> Self:
        """Read the parameters of the address; empty ones say nothing.

        Raises:
            InvalidInput: a parameter has an unknown value.
        """
        return cls(
            search=search.strip(),
            badge=_one_of(Badge, "badge", badge) if badge else None,
            extra_data=_one_of(ExtraData, "extra_data", extra_data) if extra_data else None,
            flagged=_yes("flagged", flagged) if flagged else None,
            as_of=as_of.strip(),
            sort=_one_of(Sort, "sort", sort) if sort else Sort.BEST,
            order=_one_of(Order, "order", order) if order else None,
            withdrawn=_yes("withdrawn", withdrawn) if withdrawn else False,
            old_protocol=_yes("old_protocol", old_protocol) if old_protocol else False,
            columns=_columns(columns),
            page=_page_number(page) if page else 1,
        )

    @property
    def as_of_ms(self) -> int | None:
        """The moment that is shown; None for the present.

        Raises:
            InvalidInput: it cannot be read.
        """
        return read_moment(self.as_of) if self.as_of else None

    @property
    def direction(self) -> Order:
        """Which way it is sorted."""
        return self.order or usual_order(self.sort)

    @property
    def entries(self) -> BoardFilters:
        """The filters as the store knows them."""
        return BoardFilters(
            search=self.search,
            badge=self.badge,
            extra_data=self.extra_data,
            flagged=self.flagged,
            withdrawn=self.withdrawn,
            old_protocol=self.old_protocol,
        )

    @property
    def filters(self) -> dict[str, str]:
        """The parameters that say which entries are shown, as the API knows them too."""
        given = {
            "search": self.search,
            "badge": self.badge.value if self.badge else "",
            "extra_data": self.extra_data.value if self.extra_data else "",
            "flagged": "" if self.flagged is None else (YesNo.YES if self.flagged else YesNo.NO).value,
        }
        return {name: str(value) for name, value in given.items() if value} | self.beyond

    @property
    def beyond(self) -> dict[str, str]:
        """The parameters that show entries which are hidden without being asked for, as the API knows them too."""
        given = {"withdrawn": self.withdrawn, "old_protocol": self.old_protocol}
        return {name: YesNo.YES.value for name, shown in given.items() if shown}

    @property
    def sorting_alone(self) -> dict[str, str]:
        """The parameters of the order alone."""
        return {name: value for name, value in self.sorting.items() if name != "as_of"}

    @property
    def sorting(self) -> dict[str, str]:
        """The parameters of the moment and the order, as the API knows them too; what is usual is left out."""
        given = {
            "as_of": self.as_of,
            "sort": "" if self.sort is Sort.BEST else self.sort.value,
            "order": "" if self.direction is usual_order(self.sort) else self.direction.value,
        }
        return {name: value for name, value in given.items() if value}


def _page_number(value: str) -> int:
    if value.isascii() and value.isdigit() and int(value[:20]) > 0:
        return min(int(value[:20]), MANY)
    raise InvalidInput.because(
        "page", found=ascii(value)[:80], expected="a number from 1 on", remedy="choose a page, or leave page out"
    )


def _columns(values: Iterable[str]) -> tuple[Column, ...]:
    asked = {_one_of(Column, "columns", value) for value in values if value}
    return tuple(column for column in Column if column in asked)


def _yes(field: str, value: str) -> bool:
    return _one_of(YesNo, field, value) is YesNo.YES


_Choice = TypeVar("_Choice", bound=StrEnum)


def _one_of(choices: type[_Choice], field: str, value: str) -> _Choice:
    try:
        return choices(value)
    except ValueError:
        raise InvalidInput.because(
            field,
            found=ascii(value)[:80],
            expected=f"one of {', '.join(choices)}",
            remedy=f"choose one of them, or leave {field} out",
        ) from None
