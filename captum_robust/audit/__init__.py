"""The audit: smooth, certify and report, behind ``python -m captum_robust audit``.

Each file is one step. ``plan``: what is asked. ``subject`` and ``digits``: what is audited.
``methods`` and ``explanation``: by which attributions, and how they are asked. ``runner``: the
sampling. ``attacks`` and ``metrics``: what is added on request. ``document`` and ``findings``:
every number, as JSON. ``figures``, ``page``, ``table``: these as pictures, HTML and text.
``command``: the options.
"""
