"""The answers of a certificate: numbers, sentences and files."""
