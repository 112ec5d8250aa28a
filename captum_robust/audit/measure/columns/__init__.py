"""The columns of an audit: one class each, which measures, summarises and shows."""
