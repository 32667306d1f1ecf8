"""A preset of KerasHub is a backbone that gives what people use as its embedding."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.cli import main
from resnet_kmeans.exceptions import NetworkError

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


def make_clip(hub):
    from keras_hub.src.models.clip.clip_text_encoder import CLIPTextEncoder
    from keras_hub.src.models.clip.clip_vision_encoder import CLIPVisionEncoder

    parts = {**SMALL, "intermediate_dim": 32}
    vision = CLIPVisionEncoder(patch_size=8, image_shape=(32, 32, 3), **parts)
    text = CLIPTextEncoder(20, 16, max_sequence_length=8, **parts)
    return hub.models.CLIPBackbone(vision, text, 8)


# How the embedding is made of what the network gives.
EMBEDDINGS = {
    make_resnet: lambda backbone: backbone(SCALED).numpy().mean(axis=(1, 2)),
    make_vit: lambda backbone: backbone(SCALED).numpy()[:, 0],
    make_dinov2: lambda backbone: backbone({"images": SCALED}).numpy()[:, 0],
    make_swin: lambda backbone: backbone(SCALED).numpy().mean(axis=1),
    make_siglip: lambda backbone: backbone.get_vision_embeddings(SCALED).numpy(),
    make_clip: lambda backbone: backbone.get_vision_embeddings(SCALED).numpy(),
}
CONVERTERS = {
    make_resnet: "ResNet",
    make_vit: "ViT",
    make_dinov2: "DINOV2",
    make_swin: "SwinTransformer",
    make_siglip: "SigLIP",
    make_clip: "CLIP",
}


def save(hub, make, folder):
    """Write a preset to a folder, and return its network."""
    backbone = make(hub)
    backbone.save_to_preset(folder)
    scale, offset = (1 / 255 / STD).tolist(), (-MEAN / STD).tolist()
    converter = getattr(hub.layers, f"{CONVERTERS[make]}ImageConverter")
    converter((32, 32), scale=scale, offset=offset).save_to_preset(folder)
    return backbone


def assert_close(rows, expected):
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


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
def test_a_preset_returns_its_usual_embedding(hub, make, tmp_path):
    backbone = save(hub, make, tmp_path / "preset")
    featurizer = ResNetFeaturizer(backbone=str(tmp_path / "preset"), precision="float32")
    assert_close(featurizer.fit_transform(PIXELS), EMBEDDINGS[make](backbone))


LATER = """
import sys
sys.modules.update(keras_hub=None, keras=None, tensorflow=None)
import numpy as np
from resnet_kmeans import ResNetFeaturizer
image = np.full((32, 32, 3), 7, np.uint8)
print(ResNetFeaturizer(backbone=sys.argv[1]).fit([image]).transform([image]).shape)
"""


def test_an_imported_preset_needs_neither_keras_hub_nor_tensorflow(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_KMEANS_CACHE", str(tmp_path / "cache"))
    save(hub, make_vit, tmp_path / "preset")
    ResNetFeaturizer(backbone=str(tmp_path / "preset")).fit(PIXELS)
    command = [sys.executable, "-c", LATER, str(tmp_path / "preset")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "(1, 16)\n", done.stderr
    assert not list((tmp_path / "cache" / "networks").glob(".*"))  # no half-written file stays


def test_without_a_cache_a_preset_is_imported_once_per_process(hub, tmp_path, monkeypatch):
    save(hub, make_vit, tmp_path / "preset")
    featurizer = ResNetFeaturizer(backbone=str(tmp_path / "preset"), cache=None).fit(PIXELS)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    assert featurizer.transform(PIXELS).shape == (2, 16)


def test_a_folder_that_changes_is_imported_again(hub, tmp_path):
    save(hub, make_vit, tmp_path / "preset")
    featurizer = ResNetFeaturizer(backbone=str(tmp_path / "preset"), precision="float32")
    featurizer.fit(PIXELS)
    shutil.rmtree(tmp_path / "preset")
    backbone = save(hub, make_vit, tmp_path / "preset")
    assert_close(featurizer.fit_transform(PIXELS), EMBEDDINGS[make_vit](backbone))


def test_the_shape_of_a_preset_is_its_own_unless_another_fits(hub, tmp_path):
    save(hub, make_vit, tmp_path / "vit")
    save(hub, make_resnet, tmp_path / "resnet")
    vit, resnet = (ResNetFeaturizer(backbone=str(tmp_path / name)) for name in ("vit", "resnet"))
    assert vit.network_spec().input_shape == resnet.network_spec().input_shape == (32, 32)
    assert resnet.set_params(input_shape=(48, 64)).fit_transform(PIXELS).shape == (2, 64)
    assert resnet.network_spec().input_shape == (48, 64)
    with pytest.raises(NetworkError, match=r"input_shape=\(32, 32\).*only.*vit.*got \(48, 64\)"):
        vit.set_params(input_shape=(48, 64)).fit(PIXELS)


def test_an_export_remembers_the_preset(hub, pictures, tmp_path, monkeypatch, capsys):
    save(hub, make_vit, tmp_path / "preset")
    monkeypatch.chdir(tmp_path)
    assert main(["cluster", str(pictures), "out", "-k", "2", "--backbone", "preset"]) == 0
    (tmp_path / "new").mkdir()
    Image.fromarray(PIXELS[0]).save(tmp_path / "new" / "new.png")
    out = str(tmp_path / "out")
    monkeypatch.chdir(pictures)  # from where the name of the folder leads nowhere
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    for command in (["add", out, str(tmp_path / "new")], ["split", out, "0"], ["report", out]):
        assert main(command) == 0, capsys.readouterr().err
    assert [*Path(out).glob("*/new.png")]


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


def test_timm_networks_are_taken_by_name_or_from_a_file(
    hub, timm_folder, tmp_path, monkeypatch, capsys
):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    scaled = ((pixels / 255 - MEAN) / STD).astype(np.float32)
    network = hub.models.Backbone.from_preset(str(timm_folder))
    expected = network(scaled).numpy().mean(axis=(1, 2))
    named = ResNetFeaturizer(backbone=str(timm_folder), precision="float32")
    assert_close(named.fit_transform(pixels), expected)
    featurizer = import_preset(timm_folder, tmp_path / "resnet18.keras", (64, 96), capsys)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    assert_close(featurizer.fit_transform(pixels), expected)


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


def test_a_misspelled_preset_is_refused_with_the_close_ones(hub):
    with pytest.raises(NetworkError, match=r"Did you mean .*vit_base_patch16_224_imagenet"):
        ResNetFeaturizer(backbone="vit_base_patch16_224_imagenett").fit(PIXELS)


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
