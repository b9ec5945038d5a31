"""Tries to make the guard let something through: a simulated robot, and everything that goes wrong.

A case is a seed and a number. It puts the simulated arm somewhere inside its limits, runs the
guard in closed loop with it, sends it chunks of one kind over a bad connection, and then looks at
what the simulated robot did at every physics step, by arithmetic of its own.
"""
