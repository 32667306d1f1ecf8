"""EfficientNet-Lite0 in Keras, which the graph of the package is compared with."""

STAGES = [  # kernel, stride, expansion, filters, repeats
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]


def build_lite0(keras, arrays, side):
    """Return the network without its head; arrays are those of the published file."""
    layers = keras.layers

    def convolve(x, name, key, bn, relu=True, depthwise=False, stride=1):
        kernel = arrays[f"{key}.weight"]
        options = {"padding": "same", "use_bias": False, "name": f"{name}_conv"}
        if depthwise:
            layer = layers.DepthwiseConv2D(kernel.shape[-1], stride, **options)
        else:
            layer = layers.Conv2D(kernel.shape[0], kernel.shape[-1], stride, **options)
        x = layer(x)
        layer.set_weights([kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])
        normalize = layers.BatchNormalization(epsilon=1e-3)
        x = normalize(x)
        parts = ("weight", "bias", "running_mean", "running_var")
        normalize.set_weights([arrays[f"{bn}.{part}"] for part in parts])
        return layers.ReLU(6)(x) if relu else x

    inputs = keras.Input((side, side, 3))
    x, number = convolve(inputs, "stem", "_conv_stem", "_bn0", stride=2), 0
    for stage, (_, stride, expansion, _, repeats) in enumerate(STAGES, start=1):
        for repeat in range(repeats):
            name, key, before = f"block{stage}{'abcd'[repeat]}", f"_blocks.{number}._", x
            if expansion > 1:
                x = convolve(x, f"{name}_expand", f"{key}expand_conv", f"{key}bn0")
            strides = stride if repeat == 0 else 1
            depthwise = f"{key}depthwise_conv", f"{key}bn1"
            x = convolve(x, f"{name}_dw", *depthwise, depthwise=True, stride=strides)
            x = convolve(x, f"{name}_project", f"{key}project_conv", f"{key}bn2", relu=False)
            if repeat:
                x = layers.Add(name=f"{name}_add")([x, before])
            number += 1
    return keras.Model(inputs, convolve(x, "top", "_conv_head", "_bn1"))
