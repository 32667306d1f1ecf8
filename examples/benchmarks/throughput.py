"""Measures images a second: this package beside what else runs the same Keras network.

    python examples/benchmarks/throughput.py                    # drawn pictures
    python examples/benchmarks/throughput.py --images PHOTOS    # your own JPEG files

Needs the `benchmark` extra. Every contestant reads the same files with the same network,
each in a process of its own; rounds go round robin, so that a drifting machine hits all
alike, and medians are quoted. Import, building and the first images are not timed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import joblib
import numpy as np
from PIL import Image

from resnet_kmeans import ResNetFeaturizer, find_images
from resnet_kmeans.features.extraction import _prefetch
from resnet_kmeans.images.decoding import decode
from resnet_kmeans.network import load_network
from resnet_kmeans.network.libraries import import_openvino, import_tensorflow
from resnet_kmeans.network.weights import NetworkSpec

SIDE, BATCH, WARM = 224, 8, 16
CONTESTANTS = (
    *("predict one by one", "predict in batches", "ours float32", "ours auto", "ours int8"),
    *("OpenVINO bf16", "ONNX Runtime", "Lite0 float32", "Lite0 auto"),
)
# Apart they show the bound of both together: 1 / (1 / decode + 1 / network).
STEPS = ("decode alone", "ResNet50 alone", "Lite0 alone")


def draw_photos(folder, n_images, size, seed=0):
    """Write JPEG files of smooth noise, which compress as photos do."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n_images):
        coarse = random.integers(0, 256, (size[1] // 12, size[0] // 12, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        image.save(folder / f"{number}.jpg", quality=90)
    return folder


def draw_network(file, side=SIDE, seed=0):
    """Write an untrained ResNet50 whose biases and batch normalisation have something to do.

    A fresh one shifts by zero, and graph optimisers then treat it unlike a trained one.
    """
    keras, random = import_tensorflow().keras, np.random.default_rng(seed)
    model = keras.applications.ResNet50(
        weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3)
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shapes = [value.shape for value in layer.get_weights()]
            layer.set_weights([random.uniform(0.1, 0.9, shape) for shape in shapes])
        elif isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, random.uniform(-0.1, 0.1, bias.shape)])
    model.save(file)
    return file


def keras_model(weights):
    return import_tensorflow().keras.models.load_model(weights, compile=False)


def predict_one_by_one(paths, weights):
    """Do what the original script did."""
    keras, model = import_tensorflow().keras, keras_model(weights)
    prepare = keras.applications.resnet50.preprocess_input

    def run(some):
        for path in some:
            image = keras.utils.load_img(path, target_size=(SIDE, SIDE))
            model.predict(prepare(keras.utils.img_to_array(image)[None]), verbose=0)

    return run


def predict_in_batches(paths, weights):
    keras, model = import_tensorflow().keras, keras_model(weights)
    prepare = keras.applications.resnet50.preprocess_input

    def run(some):
        for batch in batches(some, 32):
            images = [keras.utils.load_img(path, target_size=(SIDE, SIDE)) for path in batch]
            arrays = np.stack([keras.utils.img_to_array(image) for image in images])
            model.predict(prepare(arrays), verbose=0)

    return run


def cache_of(weights):
    """Return a feature cache without a row, whose compiled networks all processes share."""
    networks = Path(f"{weights}.networks")
    networks.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=networks.parent))
    (folder / "networks").symlink_to(networks)
    return folder


def ours(precision, **given):
    def build(paths, weights):
        network = {"weights": weights, "preprocess": "caffe", "cache": cache_of(weights)}
        return ResNetFeaturizer(
            precision=precision, unreadable="nan", **{**network, **given}
        ).transform

    return build


def lite0(precision):
    return ours(precision, weights="imagenet", backbone="efficientnet_lite0", preprocess="auto")


def decode_alone(paths, weights):
    def run(some):
        for _ in _prefetch(read, iter(some), 64, joblib.cpu_count()):
            pass

    return run


def network_alone(precision, **given):
    """Run the network over pixels that are there, from as many threads as it has streams."""

    def build(paths, weights):
        spec = NetworkSpec(precision=precision, **{"weights": str(weights), **given})
        network = load_network(spec, Path(f"{weights}.networks"))
        pixels = np.stack([read(path) for path in paths[: network.batch_size]])

        def run(some):
            batches = (pixels for _ in range(0, len(some), network.batch_size))
            for _ in _prefetch(network, batches, network.n_streams + 2, network.n_streams + 1):
                pass

        return run

    return build


def openvino(paths, weights):
    ov = import_openvino()
    core = ov.Core()
    network = core.read_model(export(weights, "saved_model"))
    network.reshape([BATCH, SIDE, SIDE, 3])
    hints = {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = core.compile_model(network, "CPU", hints)

    def run(some):
        queue = ov.AsyncInferQueue(compiled)
        rows = []
        queue.set_callback(lambda request, _: rows.append(request.get_output_tensor().data.copy()))
        for batch in prepared_batches(some):
            queue.start_async(batch)
        queue.wait_all()
        assert len(rows) == -(-len(some) // BATCH)

    return run


def onnx_runtime(paths, weights):
    import onnxruntime

    session = onnxruntime.InferenceSession(export(weights, "onnx"))
    name = session.get_inputs()[0].name

    def run(some):
        for batch in prepared_batches(some):
            session.run(None, {name: batch})

    return run


LITE0 = {"weights": "imagenet", "backbone": "efficientnet_lite0"}
BUILDERS = dict(
    zip(
        (*CONTESTANTS, *STEPS),
        (
            *(predict_one_by_one, predict_in_batches, ours("float32"), ours("auto"), ours("int8")),
            *(openvino, onnx_runtime, lite0("float32"), lite0("auto")),
            *(decode_alone, network_alone("auto", preprocess="caffe")),
            network_alone("auto", **LITE0),
        ),
    )
)


def export(weights, kind):
    """Write the network where the two runtimes read it, once for all rounds."""
    target = Path(f"{weights}.{kind}")
    if not target.exists():
        model = keras_model(weights)
        model(np.zeros((1, SIDE, SIDE, 3), dtype=np.float32))  # what is not called has no graph
        model.export(target, format="onnx" if kind == "onnx" else "tf_saved_model", verbose=False)
    return str(target)


def batches(items, size):
    items = iter(items)
    return iter(lambda: list(itertools.islice(items, size)), [])


def read(path):
    return decode(Path(path).read_bytes(), (SIDE, SIDE))


def prepared_batches(paths):
    """Decode in as many threads as this package does, prepare as Keras does."""
    prepare = import_tensorflow().keras.applications.resnet50.preprocess_input
    pixels = _prefetch(read, iter(paths), 64, joblib.cpu_count())
    for batch in batches(pixels, BATCH):
        full = np.zeros((BATCH, SIDE, SIDE, 3), dtype=np.float32)
        full[: len(batch)] = np.stack(batch)
        yield prepare(full)


def flops(weights):
    """Return the floating-point operations of the convolutions, for one image."""
    total = 0
    for layer in keras_model(weights).layers:
        if hasattr(layer, "kernel") and len(layer.kernel.shape) == 4:
            total += 2 * np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3])
    return float(total)


def matrix_product_flops(dtype, size=4096):
    """Return operations a second of a large matrix product: the arithmetic limit."""
    tensorflow = import_tensorflow().tensorflow
    a = tensorflow.cast(tensorflow.random.normal((size, size)), dtype)
    product = tensorflow.function(lambda: tensorflow.linalg.matmul(a, a)[0, 0])
    product()
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        product().numpy()
        times.append(time.perf_counter() - begin)
    return 2 * size**3 / statistics.median(times)


def peak_megabytes():
    """Return the peak memory of this process; NaN where there is no /proc."""
    # `resource.getrusage` would return that of the parent process if it was larger.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    sizes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return sizes[0] / 1024 if sizes else float("nan")


def work(args):
    """Time one contestant in this process; print its figures."""
    paths = [str(path) for path in find_images(args.images)][: args.n]
    if args.work == "limit":
        figures = {
            d: matrix_product_flops(d) / flops(args.weights) for d in ("bfloat16", "float32")
        }
    else:
        if args.no_draft:
            from PIL import JpegImagePlugin

            JpegImagePlugin.JpegImageFile.draft = lambda *ignored: None
        given = json.loads(args.given)
        build = ours(**given) if given else BUILDERS[args.work]
        if args.work == "predict one by one":
            paths = paths[: max(WARM * 2, len(paths) // 5)]
        run = build(paths, args.weights)
        run(paths[:WARM])
        begin = time.perf_counter()
        run(paths)
        figures = {"images/s": len(paths) / (time.perf_counter() - begin)}
    figures["MB"] = peak_megabytes()
    print("RESULT", json.dumps(figures), flush=True)
    os._exit(0)  # OpenVINO was seen to wait for itself for ever when Python takes it down


def measure(args, name, images, n, given=None, no_draft=False):
    command = [sys.executable, "-W", "ignore", __file__, "--work", name, "--images", str(images)]
    command += ["--n", str(n), "--given", json.dumps(given or {})]
    command += ["--weights", str(args.weights)]
    done = subprocess.run(command + ["--no-draft"] * no_draft, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        print(f"  {name}: failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(lines[0][7:])


def table(args, title, jobs):
    """Measure jobs in turns, print the median of each and its ratio to the first."""
    rounds = [{name: measure(args, *job) for name, job in jobs.items()} for _ in range(args.rounds)]
    print(f"\n{title}\n{'':32}images/s   ratio  peak MB")
    speeds = {}
    for name in jobs:
        figures = [r[name] for r in rounds if r[name]]
        if figures:
            speed = speeds[name] = statistics.median(f["images/s"] for f in figures)
            first = next(iter(speeds.values()))
            memory = max(f["MB"] for f in figures)
            print(f"{name:32}{speed:8.1f}{speed / first:8.2f}{memory:9.0f}", flush=True)
    return speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", help="folder of JPEG files; default: drawn ones")
    parser.add_argument(
        "--weights", help="a whole network in a .keras file; default: drawn, as fast"
    )
    parser.add_argument("--n", type=int, default=400, help="images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["contestants", "large", "settings", "memory"])
    for hidden in ("--work", "--given"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--no-draft", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args)
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder, "resnet50.keras")  # the exports of it go beside it
        args.weights = (
            shutil.copyfile(args.weights, network) if args.weights else draw_network(network)
        )
        photos = args.images or draw_photos(Path(folder, "small"), args.n, (500, 375))
        for name in ("ours auto", "ours int8", "Lite0 auto"):  # compiled by TensorFlow, once
            measure(args, name, photos, WARM)
        if args.only in (None, "contestants"):
            limit = measure(args, "limit", photos, 1)
            speeds = [f"{name} {limit[name]:.0f}" for name in ("bfloat16", "float32")]
            print(f"Arithmetic limit: {', '.join(speeds)} images/s")
            jobs = {name: (name, photos, args.n) for name in (*CONTESTANTS, *STEPS)}
            speeds = table(args, "Contestants", jobs)
            for network, whole in (("ResNet50", "ours auto"), ("Lite0", "Lite0 auto")):
                if {"decode alone", f"{network} alone", whole} <= set(speeds):
                    apart = [1 / speeds[step] for step in ("decode alone", f"{network} alone")]
                    bound = 1 / sum(apart)
                    share = speeds[whole] / bound
                    print(f"{network}: bound {bound:.0f} images/s, {share:.2f} of it reached")
        if args.only in (None, "large"):
            large = draw_photos(Path(folder, "large"), 60, (4000, 3000))
            auto = {"precision": "auto"}
            jobs = {
                d: ("ours", large, 60, auto, d == "without draft")
                for d in ("without draft", "with draft")
            }
            table(args, "12-megapixel JPEG files", jobs)
        if args.only in (None, "memory"):
            many = draw_photos(Path(folder, "many"), 2000, (500, 375))
            auto = {"precision": "auto"}
            table(args, "Memory", {f"{n} images": ("ours", many, n, auto) for n in (500, 2000)})
        if args.only in (None, "settings"):
            args.weights = draw_network(Path(folder, "any_size.keras"), side=None)
            settings = [{"precision": "auto", "batch_size": n} for n in (1, 2, 4, 8, 16, 32)]
            settings += [{"precision": p} for p in ("float32", "bfloat16")]
            settings += [{"precision": "auto", "input_shape": [n, n]} for n in (160, 224, 320)]
            jobs = {
                " ".join(map(str, s.values())): ("ours", photos, args.n // 2, s) for s in settings
            }
            table(args, "Settings", jobs)
    return None


if __name__ == "__main__":
    main()
