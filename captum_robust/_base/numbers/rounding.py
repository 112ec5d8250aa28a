"""Numbers for readers, rounded to the side on which a statement stays true."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

_MANY: Final = Context(prec=50)


def down(value: float, digits: int = 4) -> str:
    """So many significant digits, rounded down.

    Example:
        >>> from captum_robust._base.numbers.rounding import down
        >>> down(0.617283), down(12345.6)
        ('0.6172', '12340')
    """
    return _significant(value, digits, ROUND_FLOOR)


def up(value: float, digits: int = 4) -> str:
    """So many significant digits, rounded up.

    Example:
        >>> from captum_robust._base.numbers.rounding import up
        >>> up(3.62135), up(2.0)
        ('3.622', '2')
    """
    return _significant(value, digits, ROUND_CEILING)


def down_to(value: float, places: int) -> str:
    """So many places after the point, rounded down.

    Example:
        >>> from captum_robust._base.numbers.rounding import down_to
        >>> down_to(0.98769, 3), down_to(0.29, 2)
        ('0.987', '0.29')
    """
    return _placed(value, places, ROUND_FLOOR)


def up_to(value: float, places: int) -> str:
    """So many places after the point, rounded up.

    Example:
        >>> from captum_robust._base.numbers.rounding import up_to
        >>> up_to(12.31, 1), up_to(90.0, 1)
        ('12.4', '90.0')
    """
    return _placed(value, places, ROUND_CEILING)


def percent_down(share: float) -> str:
    """A share in percent with one place at most, rounded down.

    Example:
        >>> from captum_robust._base.numbers.rounding import percent_down
        >>> percent_down(0.9999), percent_down(0.29), percent_down(2 / 3)
        ('99.9 %', '29 %', '66.6 %')
    """
    percent = 100 * _decimal(share)
    return f"{_plain(percent.quantize(Decimal('0.1'), ROUND_FLOOR, _MANY))} %"


def percent_up(share: float) -> str:
    """A share in percent with one place at most, rounded up.

    Example:
        >>> from captum_robust._base.numbers.rounding import percent_up
        >>> percent_up(0.9991), percent_up(0.29)
        ('100 %', '29 %')
    """
    percent = 100 * _decimal(share)
    return f"{_plain(percent.quantize(Decimal('0.1'), ROUND_CEILING, _MANY))} %"


def confidence_percent(alpha: float) -> str:
    """1 - alpha in percent, exact: rounded it would promise more, 100 % for a small alpha.

    Example:
        >>> from captum_robust._base.numbers.rounding import confidence_percent
        >>> confidence_percent(0.05), confidence_percent(1e-7)
        ('95 %', '99.99999 %')
    """
    return f"{_plain(_MANY.subtract(Decimal(100), 100 * _decimal(alpha)))} %"


def _significant(value: float, digits: int, side: str) -> str:
    return _plain(Context(prec=digits, rounding=side).create_decimal(_decimal(value)))


def _placed(value: float, places: int, side: str) -> str:
    return f"{_decimal(value).quantize(Decimal(1).scaleb(-places), side, _MANY):f}"


def _decimal(value: float) -> Decimal:
    """The shortest decimal that is this float: 0.29, not 0.28999999999999998."""
    return Decimal(repr(float(value)))


def _plain(value: Decimal) -> str:
    """Without exponent and without zeros at the end of a fraction."""
    return f"{value.normalize(_MANY):f}"
