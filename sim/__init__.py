"""Robot models, tasks, experts and environments: MuJoCo and Gymnasium, no PyTorch."""
