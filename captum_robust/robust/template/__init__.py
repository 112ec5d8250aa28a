"""The attack that every named attack is an instance of."""
