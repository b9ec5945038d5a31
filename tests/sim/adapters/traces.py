import numpy as np


def trace(env, seed, steps=20):
    """Bytes of an episode under actions that depend on the seed alone."""
    random = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    rows = [(observation, 0.0, info)]
    low, high = (
        np.nan_to_num(x, posinf=1, neginf=-1) for x in (env.action_space.low, env.action_space.high)
    )
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(
            random.uniform(low, high).astype(np.float32)
        )
        rows.append((observation, reward, info))
        if terminated or truncated:
            break
    return [
        (b"".join(value.tobytes() for value in seen.values()), reward, *info.values())
        for seen, reward, info in rows
    ]


def play(env, seed, *, noise=0.0):
    """An expert's episode: what it did, and the last info."""
    _, info = env.reset(seed=seed)
    expert = env.expert(noise=noise, rng=np.random.default_rng(seed))
    acts, truncated = [], False
    while not (expert.done or truncated):
        acts.append(expert.act())
        _, _, _, truncated, info = env.step(acts[-1].executed)
    return acts, info
