"""How alike two maps are: functions of two maps."""
