"""From a trained policy to a robot: export, bundle, runtime, guard and language."""
