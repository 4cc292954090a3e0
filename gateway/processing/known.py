"""Each device's tags that aren't derived, as those see them that read them: the driver's, then the calculated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from drivers.model import Kind, TagTable

if TYPE_CHECKING:
    from gateway.derived.outline import Known
    from gateway.derived.settings import DerivedSettings
    from gateway.processing.formulas import Formulas
    from gateway.processing.settings import CalculatedSettings


def derived_names(derived: Sequence[DerivedSettings]) -> dict[str, set[str]]:
    """The names of the derived tags by device, those that only expressions can read too."""
    found: dict[str, set[str]] = {}
    if derived:
        from gateway.derived.results import names_of

        for one in derived:
            found.setdefault(one.device, set()).update(names_of(one))
    return found


def known_tags(
    tables: Mapping[str, TagTable], calculated: Sequence[CalculatedSettings], formulas: Formulas | None
) -> dict[str, Known]:
    """By device; calculated tags with mistakes are left out.

    Args:
        tables: the drivers' tags.
        formulas: None where nothing is calculated.
    """
    from gateway.derived.outline import Known

    operands = {} if formulas is None else {formula.place: formula.operand for formula in formulas.ordered}
    late = {} if formulas is None else formulas.late
    found = {}
    for name, table in tables.items():
        own = [place for place, one in enumerate(calculated) if one.device == name and (place in operands or place in late)]
        kinds = [Kind.BOOL if place in operands and operands[place].is_bool else Kind.FLOAT for place in own]
        units = [operands[place].unit if place in operands else None for place in own]
        found[name] = Known(
            (*table.names, *(calculated[place].name for place in own)),
            (*table.kinds, *kinds),
            (*table.units, *units),
            {len(table.names) + at: place for at, place in enumerate(own) if place in late},
        )
    return found
