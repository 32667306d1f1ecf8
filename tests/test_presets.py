"""A preset of KerasHub becomes one file that gives what people use as its embedding."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.cli import main

pytestmark = pytest.mark.slow
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALED = ((PIXELS / 255 - MEAN) / STD).astype(np.float32)
SMALL = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16}


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub", reason="keras-hub is not installed (hub extra)")


def make_resnet(hub):
    return hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
    )


def make_vit(hub):
    return hub.models.ViTBackbone(image_shape=(32, 32, 3), patch_size=8, mlp_dim=32, **SMALL)


def make_dinov2(hub):
    return hub.models.DINOV2Backbone(
        patch_size=8,
        intermediate_dim=32,
        image_shape=(32, 32, 3),
        position_embedding_shape=(32, 32, 3),
        **SMALL,
    )


def make_swin(hub):
    return hub.models.SwinTransformerBackbone(
        image_shape=(32, 32, 3), embed_dim=8, depths=[1], num_heads=[2], window_size=4
    )


def make_siglip(hub):
    from keras_hub.src.models.siglip.siglip_text_encoder import SigLIPTextEncoder
    from keras_hub.src.models.siglip.siglip_vision_encoder import SigLIPVisionEncoder

    parts = {**SMALL, "intermediate_dim": 32}
    vision = SigLIPVisionEncoder(patch_size=8, image_shape=(32, 32, 3), **parts)
    text = SigLIPTextEncoder(20, 16, max_sequence_length=8, **parts)
    return hub.models.SigLIPBackbone(vision, text)


# How the embedding is made of what the network gives.
EMBEDDINGS = {
    make_resnet: lambda backbone: backbone(SCALED).numpy().mean(axis=(1, 2)),
    make_vit: lambda backbone: backbone(SCALED).numpy()[:, 0],
    make_dinov2: lambda backbone: backbone({"images": SCALED}).numpy()[:, 0],
    make_swin: lambda backbone: backbone(SCALED).numpy().mean(axis=1),
    make_siglip: lambda backbone: backbone.get_vision_embeddings(SCALED).numpy(),
}


def import_preset(preset, file, shape, capsys):
    """Import a preset and return a featurizer with the parameters that the command tells."""
    capsys.readouterr()
    assert main(["weights", "--from-preset", str(preset), str(file)]) == 0
    params = f'weights={str(file)!r}, input_shape={shape}, preprocess="none"'
    assert f"ResNetFeaturizer({params})" in capsys.readouterr().out
    return ResNetFeaturizer(
        weights=file, input_shape=shape, preprocess="none", precision="float32", cache=None
    )


def refused(preset, file, capsys):
    """Return the error of an import that is refused."""
    assert main(["weights", "--from-preset", str(preset), str(file)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("make", EMBEDDINGS, ids=lambda make: make.__name__)
def test_a_preset_returns_its_usual_embedding(hub, make, tmp_path, capsys):
    backbone = make(hub)
    backbone.save_to_preset(tmp_path / "preset")
    converter = {
        make_resnet: hub.layers.ResNetImageConverter,
        make_vit: hub.layers.ViTImageConverter,
        make_dinov2: hub.layers.DINOV2ImageConverter,
        make_swin: hub.layers.SwinTransformerImageConverter,
        make_siglip: hub.layers.SigLIPImageConverter,
    }[make]
    scale, offset = (1 / 255 / STD).tolist(), (-MEAN / STD).tolist()
    converter((32, 32), scale=scale, offset=offset).save_to_preset(tmp_path / "preset")
    file = tmp_path / "network.keras"
    rows = import_preset(tmp_path / "preset", file, (32, 32), capsys).fit_transform(PIXELS)
    np.testing.assert_allclose(rows, EMBEDDINGS[make](backbone), rtol=1e-3, atol=1e-3)
    assert not list(tmp_path.glob(".*"))  # no half-written file stays


@pytest.fixture(scope="module")
def timm_folder(hub, tmp_path_factory):
    """ResNet18 with random weights, as timm publishes its own."""
    from keras_hub.src.utils.timm import convert_resnet

    random, tensors = np.random.default_rng(0), {}

    class Loader:
        def port_weight(self, keras_variable, hf_weight_key, hook_fn=None):
            shape = keras_variable.shape
            shape = [shape[n] for n in (3, 2, 0, 1)] if len(shape) == 4 else shape
            tensors[hf_weight_key] = random.uniform(0.5, 1, shape).astype(np.float32) / 9

    config = {
        "architecture": "resnet18",
        "num_classes": 10,
        "pretrained_cfg": {
            "input_size": [3, 64, 96],
            "mean": MEAN.tolist(),
            "std": STD.tolist(),
            "interpolation": "bicubic",
        },
    }
    backbone = hub.models.ResNetBackbone(**convert_resnet.convert_backbone_config(config))
    convert_resnet.convert_weights(backbone, Loader(), config)
    folder = tmp_path_factory.mktemp("timm")
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_an_imported_timm_preset_loads_without_keras_hub(
    timm_folder, tmp_path, monkeypatch, capsys
):
    featurizer = import_preset(timm_folder, tmp_path / "resnet18.keras", (64, 96), capsys)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    rows = featurizer.fit_transform(np.zeros((1, 64, 96, 3), np.uint8))
    assert rows.shape == (1, 512)
    assert np.isfinite(rows).all()


def test_the_command_imports_from_the_cache_of_hugging_face_offline(timm_folder, tmp_path):
    snapshot = tmp_path / "hf" / "hub" / "models--timm--resnet18.made_here" / "snapshots" / "1"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(timm_folder)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("1")
    file = tmp_path / "network.keras"
    command = [sys.executable, "-m", "resnet_kmeans", "weights"]
    done = subprocess.run(
        [*command, "--from-preset", "hf://timm/resnet18.made_here", str(file)],
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    _, line, *_ = done.stdout.splitlines()
    usage = f"ResNetFeaturizer(weights={str(file)!r}, input_shape=(64, 96), "
    assert line == usage + 'preprocess="none")'
    assert file.is_file()


def test_an_unknown_preset_raises_an_error(hub, tmp_path, capsys):
    assert "no_such" in refused("no_such", tmp_path / "new.keras", capsys)
    assert not list(tmp_path.iterdir())


def test_a_preset_without_preprocessing_raises_an_error(hub, tmp_path, capsys):
    make_vit(hub).save_to_preset(tmp_path / "preset")
    assert "preset" in refused(tmp_path / "preset", tmp_path / "new.keras", capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["preset"]


@pytest.mark.parametrize("name", ["there.keras", "network.h5"])
def test_only_a_new_keras_file_is_written(tmp_path, name, capsys):
    (tmp_path / "there.keras").write_text("of the user's")
    error = refused("no_such", tmp_path / name, capsys)
    assert ".keras" in error
    assert str(tmp_path / name) in error
    assert (tmp_path / "there.keras").read_text() == "of the user's"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_keras_hub_raises_an_error_that_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    error = refused("resnet_50_imagenet", tmp_path / "new.keras", capsys)
    assert "keras-hub" in error
    assert "resnet-kmeans[hub]" in error
