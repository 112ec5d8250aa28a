"""The audit: smooth, certify and report, behind ``python -m captum_robust audit``.

Each file is one step. ``plan``: what is asked. ``subject`` and ``digits``: what is audited.
``methods``: by which attributions. ``runner``: the sampling. ``document``: every number, as JSON.
``figures``, ``page``, ``table``: the document as pictures, HTML and text. ``command``: the options.
"""
