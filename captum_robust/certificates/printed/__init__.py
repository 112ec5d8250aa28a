"""Formulas as papers print them, to reproduce a page."""
