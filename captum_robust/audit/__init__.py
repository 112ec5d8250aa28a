"""The audit: smooth, certify and report, behind ``python -m captum_robust audit``.

Rooms, in the order in which an audit goes through them. ``ask``: what is asked for. ``load``: the
model and the examples. ``measure``: one method on one example, and the columns it fills. ``run``:
all examples, each result kept at once. ``report``: every number as JSON, pages and tables.
``command`` puts them together.

A column of your own is a subclass of one of three, named by ``--columns module:name``:
:class:`CertifiedColumn` asks a certificate, :class:`AttackColumn` attacks, :class:`MeasuredColumn`
measures anything else.
"""

from captum_robust.audit.measure.columns.attacked.attacked import AttackColumn
from captum_robust.audit.measure.columns.certified.certified import CertifiedColumn
from captum_robust.audit.measure.columns.measured.measured import MeasuredColumn

__all__ = ["AttackColumn", "CertifiedColumn", "MeasuredColumn"]
