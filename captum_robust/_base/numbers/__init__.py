"""Numbers: rounded to the safe side, and bracketed from it."""
