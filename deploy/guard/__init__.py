"""Hard limits between a policy and a robot."""
