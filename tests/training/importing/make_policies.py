"""Let LeRobot write policies, and say what they do: makes the folder `data` beside this file.

Run where LeRobot is installed, which cannot be where Bridle is (it pins other versions):

    python -m venv lerobot-venv && . lerobot-venv/bin/activate
    pip install lerobot==0.4.4
    python make_policies.py [--sizes published] [--out FOLDER]

Everything is LeRobot's own: policy, statistics, schedulers and files. Small policies are kept as
they are written; of those with cameras the weights are made by `recipe.py` and left out.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch

# A torchvision built for another torch cannot load its compiled operators; none is used here.
try:
    import torchvision
except RuntimeError:
    _library = torch.library.Library("torchvision", "FRAGMENT")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy, _make_noise_scheduler
from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors
from recipe import COMPUTED, made

STATE, ENVIRONMENT, ACTION = 3, 4, 2
BATCH = 2
SIZE, CROP = (40, 44), (34, 40)
SMALL = {
    "horizon": 8,
    "n_action_steps": 4,
    "down_dims": (8, 16),
    "kernel_size": 3,
    "diffusion_step_embed_dim": 8,
    "spatial_softmax_num_keypoints": 4,
}
WIDER = (64, 128)
"""Of policies whose weights are not kept. Where a group of a norm is one narrow channel, as in the
others, a sampler makes much of the last bits of float32: LeRobot is 6e-5 from itself in float64."""
PUBLISHED = {"down_dims": (512, 1024, 2048)}
MIN_MAX, MEAN_STD = NormalizationMode.MIN_MAX, NormalizationMode.MEAN_STD
CASES = {
    "state": {"noise_scheduler_type": "DDIM", "num_inference_steps": 10},
    "state_sample_ddpm": {
        "prediction_type": "sample",
        "num_train_timesteps": 20,
        "n_obs_steps": 1,
        "use_film_scale_modulation": False,
        "clip_sample_range": 2.0,
        "normalization_mapping": dict.fromkeys(("VISUAL", "STATE", "ENV", "ACTION"), MEAN_STD),
    },
    "camera": {
        "cameras": ("observation.image",),
        "noise_scheduler_type": "DDIM",
        "num_inference_steps": 10,
        "crop_shape": CROP,
    },
    "cameras_shared_sample": {
        "cameras": ("observation.images.top", "observation.images.cam_wrist"),
        "prediction_type": "sample",
        "n_obs_steps": 1,
        "noise_scheduler_type": "DDIM",
        "num_inference_steps": 4,
        "environment": True,
    },
    "cameras_separate": {
        "cameras": ("observation.images.wrist", "observation.images.front"),
        "use_separate_rgb_encoder_per_camera": True,
        "noise_scheduler_type": "DDIM",
        "num_inference_steps": 10,
        "crop_shape": CROP,
        "normalization_mapping": {
            "VISUAL": NormalizationMode.IDENTITY,
            "STATE": MEAN_STD,
            "ACTION": MIN_MAX,
        },
    },
}


def configuration(settings, sizes):
    settings = dict(settings)
    cameras = settings.pop("cameras", ())
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (STATE,))}
    for camera in cameras:
        inputs[camera] = PolicyFeature(FeatureType.VISUAL, (3, *SIZE))
    if settings.pop("environment", False) or not cameras:
        inputs["observation.environment_state"] = PolicyFeature(FeatureType.ENV, (ENVIRONMENT,))
    return DiffusionConfig(
        input_features=inputs,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
        device="cpu",
        **{**sizes, **settings},
    )


def statistics(config, random):
    """Means and spreads that are neither zero nor one, and ends that are not symmetric."""
    found = {}
    for key, feature in {**config.input_features, **config.output_features}.items():
        picture = feature.type is FeatureType.VISUAL
        shape = (3, 1, 1) if picture else feature.shape
        mean = random.uniform(0.3, 0.6, shape) if picture else random.normal(0, 1, shape)
        std = random.uniform(0.1, 0.4, shape) if picture else random.uniform(0.2, 1, shape)
        ends = {"min": mean - 2.1 * std, "max": mean + 1.7 * std}
        found[key] = {
            name: torch.from_numpy(value).float()
            for name, value in {"mean": mean, "std": std, **ends}.items()
        }
    return found


def observations(config, stats, random):
    seen = {}
    for key, feature in config.input_features.items():
        shape = (BATCH, config.n_obs_steps, *feature.shape)
        if feature.type is FeatureType.VISUAL:
            seen[key] = torch.from_numpy(random.integers(0, 256, shape, np.uint8))
        else:
            unit = torch.from_numpy(random.normal(size=shape)).float()
            seen[key] = stats[key]["mean"] + stats[key]["std"] * unit
    return seen


@torch.no_grad()
def make(name, settings, sizes, out, keep_weights):
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    if "cameras" in settings and not keep_weights:
        sizes = {**sizes, "down_dims": WIDER}
    config = configuration(settings, sizes)
    policy = DiffusionPolicy(config).eval()
    recipe = bool(config.image_features) and not keep_weights
    if recipe:
        for weight, values in policy.state_dict().items():
            if not weight.endswith(COMPUTED):
                values.copy_(torch.from_numpy(made(weight, tuple(values.shape))))
    stats = statistics(config, random)
    before, after = make_diffusion_pre_post_processors(config, stats)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    for each in (policy, before, after):
        each.save_pretrained(folder)
    if recipe:
        shapes = {k: list(v.shape) for k, v in policy.state_dict().items() if COMPUTED not in k}
        (folder / "weights.json").write_text(json.dumps(shapes, separators=(",", ":")))
        (folder / "model.safetensors").unlink()
    (folder / "README.md").unlink(missing_ok=True)

    model = policy.diffusion
    if config.noise_scheduler_type == "DDPM":
        # It draws noise at every step; the same schedule walked by DDIM is a function of the first.
        fixed = dict(model.noise_scheduler.config)
        names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "clip_sample")
        names += ("clip_sample_range", "prediction_type")
        model.noise_scheduler = _make_noise_scheduler("DDIM", **{n: fixed[n] for n in names})
    seen = observations(config, stats, random)
    batch = {k: v.float() / 255 if v.dtype == torch.uint8 else v for k, v in seen.items()}
    batch = before(batch)
    if config.image_features:
        pictures = [batch[key] for key in config.image_features]
        batch["observation.images"] = torch.stack(pictures, dim=-4)
    noise = torch.from_numpy(random.normal(size=(BATCH, config.horizon, ACTION))).float()
    cond = model._prepare_global_conditioning(batch)
    chunk = model.conditional_sample(BATCH, global_cond=cond, noise=noise)
    first = config.n_obs_steps - 1
    executed = model.generate_actions(batch, noise=noise)
    assert torch.equal(executed, chunk[:, first : first + config.n_action_steps])
    arrays = {"noise": noise, "chunk": after(chunk), "executed": after(executed), **seen}
    np.savez_compressed(folder / "expected.npz", **{k: v.numpy() for k, v in arrays.items()})
    print(name, f"{sum(p.numel() for p in policy.parameters()):,} parameters")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--sizes", choices=("small", "published"), default="small")
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    given = parser.parse_args()
    published = given.sizes == "published"
    for case in given.cases:
        make(case, CASES[case], PUBLISHED if published else SMALL, given.out, published)
