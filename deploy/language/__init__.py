"""What a person says to a running robot, turned into a typed correction."""
