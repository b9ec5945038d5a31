"""Pictures and point clouds."""

import pytest
import torch

from bridle.policies import (
    EmbeddingEncoder,
    EmbeddingEncoderConfig,
    ImageEncoder,
    ImageEncoderConfig,
    PointCloudEncoder,
    PointCloudEncoderConfig,
    PolicyError,
)
from bridle.policies.encoders.pictures import centre_crop, jitter, random_crop
from bridle.policies.encoders.resnet import SpatialSoftmax

from .encoding import fitted, images, observe


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(batch: int, steps: int, height: int, width: int) -> torch.Tensor:
    """Pictures whose red and green say the row and the column."""
    pictures = torch.zeros(batch, steps, height, width, 3, dtype=torch.uint8)
    pictures[..., 0] = torch.arange(height, dtype=torch.uint8)[:, None]
    pictures[..., 1] = torch.arange(width, dtype=torch.uint8)
    pictures[..., 2] = torch.arange(steps, dtype=torch.uint8)[:, None, None]
    return pictures


def test_a_random_crop_is_a_whole_part_at_the_same_place_in_a_history():
    cropped = random_crop(numbered(200, 2, 20, 30), 16, 24, seeded())
    assert cropped.shape == (200, 2, 16, 24, 3)
    top, left = cropped[:, :1, :1, :1, 0], cropped[:, :1, :1, :1, 1]
    rows, columns = torch.arange(16)[:, None], torch.arange(24)
    assert torch.equal(cropped[..., 0], (top + rows).expand(200, 2, 16, 24).to(torch.uint8))
    assert torch.equal(cropped[..., 1], (left + columns).expand(200, 2, 16, 24).to(torch.uint8))
    assert torch.equal(cropped[:, :, 0, 0, 2], torch.tensor([0, 1]).expand(200, 2).to(torch.uint8))
    assert set(top.flatten().tolist()) == set(range(5))
    assert set(left.flatten().tolist()) == set(range(7))


def test_a_centre_crop_leaves_the_same_on_both_sides():
    cropped = centre_crop(numbered(1, 1, 20, 30), 16, 24)
    assert cropped[0, 0, 0, 0, :2].tolist() == [2, 3]
    assert cropped[0, 0, -1, -1, :2].tolist() == [17, 26]


def test_jitter_of_no_strength_changes_nothing_and_of_some_keeps_grey_grey():
    pictures = torch.randint(256, (4, 2, 8, 8, 3), generator=seeded(), dtype=torch.uint8)
    assert (jitter(pictures, 0.0, seeded()).int() - pictures.int()).abs().max() <= 1
    grey = pictures[..., :1].expand(-1, -1, -1, -1, 3)
    varied = jitter(grey, 0.3, seeded())
    assert torch.equal(varied[..., 0], varied[..., 2])
    assert not torch.equal(varied, grey)


def test_brightness_varies_by_the_factor_asked_for():
    flat = torch.full((1000, 1, 2, 2, 3), 100, dtype=torch.uint8)
    factor = jitter(flat, 0.2, seeded()).float().mean(dim=(1, 2, 3, 4)) / 100
    assert 0.795 <= factor.min() < 0.82
    assert 1.18 < factor.max() <= 1.205


def test_a_spatial_softmax_says_where_a_spot_is():
    locate = SpatialSoftmax(1, 1)
    with torch.no_grad():
        locate.mix.weight.fill_(100.0)
    maps = torch.zeros(1, 1, 5, 9)
    maps[0, 0, 1, 6] = 1.0
    assert torch.allclose(locate(maps), torch.tensor([[0.5, -0.5]]), atol=1e-4)


@pytest.mark.parametrize("backbone", ["resnet", "vit"])
def test_pictures_are_seen_by_their_middle_in_evaluation(backbone):
    torch.manual_seed(0)
    encoder = ImageEncoder(images(backbone=backbone)).eval()
    observation = observe(encoder.config, 2)
    edge = {key: values.clone() for key, values in observation.items()}
    edge["camera_front"][:, :, :2] = 0  # 48 rows, of which the middle 43 are seen
    assert torch.equal(encoder(observation), encoder(edge))
    edge["camera_front"][:, :, 20:22] = 0
    assert not torch.allclose(encoder(observation), encoder(edge), atol=1e-4)


def test_a_crop_may_be_given_in_pixels():
    config = images(crop_size=(40, 44))
    assert config.cropped("camera_front") == (40, 44)
    varied = ImageEncoder(config).augment(observe(config, 2), seeded())
    assert varied["camera_wrist"].shape == (2, 1, 40, 44, 3)


def test_colours_may_be_normalised_by_those_of_each_camera():
    torch.manual_seed(0)
    plain, normalising = ImageEncoder(images()).eval(), ImageEncoder(images(normalise=True)).eval()
    normalising.load_state_dict(plain.state_dict(), strict=False)
    observation = observe(plain.config, 3)
    for camera in plain.config.cameras:
        # 0 to 1 around a half, half as wide: what is -1 to 1.
        normalising.normalizer.mean(camera).fill_(0.5)
        normalising.normalizer.std(camera).fill_(0.5)
    assert torch.allclose(plain(observation), normalising(observation), atol=1e-5)
    normalising.normalizer.mean("camera_wrist").copy_(torch.tensor([0.1, 0.5, 0.9]))
    own, other = plain(observation).chunk(2, dim=1), normalising(observation).chunk(2, dim=1)
    assert torch.allclose(own[0], other[0], atol=1e-5)
    assert not torch.allclose(own[1], other[1], atol=1e-3)


def test_statistics_of_colours_are_those_of_the_pictures():
    encoder = ImageEncoder(images(normalise=True))
    flat = torch.zeros(4, 48, 56, 3, dtype=torch.uint8)
    flat[2:] = torch.tensor([255, 51, 0], dtype=torch.uint8)
    encoder.fit({"camera_front": flat, "camera_wrist": flat})
    assert torch.allclose(encoder.normalizer.mean("camera_wrist"), torch.tensor([0.5, 0.1, 0.0]))
    # What never changes is not blown up.
    assert torch.allclose(encoder.normalizer.std("camera_wrist"), torch.tensor([0.5, 0.1, 0.01]))


def test_features_below_zero_may_become_zero():
    torch.manual_seed(0)
    plain, rectifying = ImageEncoder(images()), ImageEncoder(images(rectify=True))
    rectifying.load_state_dict(plain.state_dict())
    observation = observe(plain.config, 3)
    assert plain(observation).min() < 0
    assert torch.equal(rectifying(observation), plain(observation).relu())


def test_cameras_have_their_own_weights_unless_shared():
    own, shared = ImageEncoder(images()), ImageEncoder(images(shared=True))
    size = {e: sum(w.numel() for w in e.parameters()) for e in (own, shared)}
    assert size[own] == 2 * size[shared]
    observation = observe(shared.config, 3)
    swapped = dict(zip(observation, reversed(observation.values()), strict=True))
    first, second = shared(observation).chunk(2, dim=1)
    assert torch.allclose(shared(swapped), torch.cat([second, first], dim=1), atol=1e-6)


def test_a_resnet_of_full_width_is_a_resnet_18():
    # torchvision's resnet18 has 11 689 512 weights, 513 000 of them in its last layer; as many
    # scales and shifts belong to groups as did to batches.
    (eye,) = ImageEncoder(images(width=64, shared=True)).eyes
    assert sum(w.numel() for w in eye.body.parameters()) == 11_689_512 - 513_000


def test_the_order_of_points_does_not_matter():
    encoder = PointCloudEncoder(PointCloudEncoderConfig(50, 6))
    observation = observe(encoder.config, 4)
    fitted(encoder, observation)
    mixed = {"point_cloud": observation["point_cloud"][:, :, torch.randperm(50)]}
    assert torch.allclose(encoder(observation), encoder(mixed), atol=1e-6)


def test_colours_of_points_can_be_left_out():
    blind = PointCloudEncoder(PointCloudEncoderConfig(50, 6, colours=False))
    seeing = PointCloudEncoder(PointCloudEncoderConfig(50, 6))
    observation = observe(blind.config, 4)
    painted = {"point_cloud": observation["point_cloud"].clone()}
    painted["point_cloud"][..., 3:] += 1
    for encoder in (blind, seeing):
        fitted(encoder, observation)
    assert torch.equal(blind(observation), blind(painted))
    assert not torch.allclose(seeing(observation), seeing(painted), atol=1e-3)


def test_an_embedding_is_what_the_frozen_encoder_sees():
    torch.manual_seed(0)
    encoder = EmbeddingEncoder(EmbeddingEncoderConfig(images(), n_obs_steps=2))
    pictures = observe(images(), 3)
    embedding = encoder.embed({key: values[:, 0] for key, values in pictures.items()})
    assert torch.equal(embedding, encoder.frozen(pictures))
    assert not any(weight.requires_grad for weight in encoder.frozen.parameters())


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda: images(crop=0.0), "crop must lie"),
        (lambda: images(crop_size=(49, 40)), "crop_size must lie within"),
        (lambda: images(jitter=1.0), "jitter must lie"),
        (lambda: images(width=20), "multiple of 16"),
        (lambda: images(backbone="cnn"), "backbone must be one of resnet, vit"),
        (lambda: ImageEncoder(images(crop=0.5)), "more than 32 pixels"),
        (lambda: PointCloudEncoderConfig(0), "cloud needs points"),
        (lambda: PointCloudEncoderConfig(10, layers=()), "layers"),
        (lambda: EmbeddingEncoderConfig(images(2)), "sees one frame"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, what):
    with pytest.raises(PolicyError, match=what):
        wrong()


@pytest.mark.parametrize("backbone", ["resnet", "vit"])
def test_where_a_spot_is_can_be_learned(backbone):
    torch.manual_seed(0)
    settings = {"width": 16, "features": 16, "crop": 1.0, "backbone": backbone}
    encoder = ImageEncoder(ImageEncoderConfig({"camera_front": (48, 56)}, **settings))
    head = torch.nn.Linear(encoder.output_size, 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 1e-3)

    def spots(rows, seed):
        place = torch.rand(rows, 2, generator=seeded(seed))
        y, x = (place * torch.tensor([40, 48])).int().T
        pictures = torch.randint(90, (rows, 1, 48, 56, 3), generator=seeded(seed)).to(torch.uint8)
        for picture, top, left in zip(pictures[:, 0], y, x, strict=True):
            picture[top : top + 8, left : left + 8] = torch.tensor([220, 40, 40])
        return {"camera_front": pictures}, 2 * place - 1

    for step in range(100):
        pictures, place = spots(16, step)
        loss = (head(encoder(pictures)) - place).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pictures, place = spots(100, 1000)
    with torch.no_grad():
        error = (head(encoder(pictures)) - place).square().mean().sqrt()
    assert error < 0.2  # saying the middle has 0.58
