"""What is put around an exported ONNX network: the reading of images as in the training, and what the network is.

Letters: N images, H rows, W columns, S side in pixels.
"""

from typing import TYPE_CHECKING

import numpy as np

from nas_lightning.training.interface import Interface

if TYPE_CHECKING:
    from onnx import ModelProto

# Without exclude_outside the weights beyond the border would count for its pixels, unlike Pillow's.
_RESIZE = 'Resize <mode = "linear", antialias = 1, exclude_outside = 1, coordinate_transformation_mode = "half_pixel">'
# From pre_first, uint8 [N, 3, H, W], to pre_cut, uint8 [N, 3, S, S]; roundings are those of `centred_square` and torchvision.
_SQUARE = f"""
    pre_rest = Sub (pre_shape, pre_short)
    pre_start = Div (pre_rest, pre_two)
    pre_end = Add (pre_start, pre_short)
    pre_square = Slice (pre_first, pre_start, pre_end, pre_axes)
    pre_sizes = Concat <axis = 0> (pre_count, pre_sides)
    pre_cut = {_RESIZE} (pre_square, , , pre_sizes)
"""
_SHORT_SIDE_AND_CENTRE = f"""
    pre_sides_double = Cast <to = 11> (pre_shape)
    pre_short_double = Cast <to = 11> (pre_short)
    pre_larger = Mul (pre_sides_double, pre_resize)
    pre_quotient = Div (pre_larger, pre_short_double)
    pre_floor = Floor (pre_quotient)
    pre_scaled_sides = Cast <to = 7> (pre_floor)
    pre_sizes = Concat <axis = 0> (pre_count, pre_scaled_sides)
    pre_resized = {_RESIZE} (pre_first, , , pre_sizes)
    pre_rest = Sub (pre_scaled_sides, pre_sides)
    pre_rest_float = Cast <to = 1> (pre_rest)
    pre_two_float = Cast <to = 1> (pre_two)
    pre_half = Div (pre_rest_float, pre_two_float)
    pre_round = Round (pre_half)
    pre_start = Cast <to = 7> (pre_round)
    pre_end = Add (pre_start, pre_sides)
    pre_cut = Slice (pre_resized, pre_start, pre_end, pre_axes)
"""


def with_preprocessing(model: "ModelProto", interface: Interface) -> "ModelProto":
    """`model`, whose input `images` is normalised, with the input `pixels` instead: uint8 [N, H, W, 3] of any size, read as
    `Classifier.transform` does but for the rounding of the resized pixels, which differ by up to 2 of 255."""
    import onnx
    from onnx import compose, numpy_helper, parser

    side, resize = interface.image_size, interface.resize
    opset = next(each.version for each in model.opset_import if each.domain == "")
    text = f"""
<ir_version: {model.ir_version}, opset_import: ["" : {opset}]>
preprocessing (uint8[N, H, W, 3] pixels) => (float[N, 3, {side}, {side}] pre_images) {{
    pre_first = Transpose <perm = [0, 3, 1, 2]> (pixels)
    pre_count = Shape <start = 0, end = 2> (pre_first)
    pre_shape = Shape <start = 2, end = 4> (pre_first)
    pre_short = ReduceMin (pre_shape)
    {_SQUARE if resize is None else _SHORT_SIDE_AND_CENTRE}
    pre_float = Cast <to = 1> (pre_cut)
    pre_scaled = Mul (pre_float, pre_scale)
    pre_images = Add (pre_scaled, pre_offset)
}}
"""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in interface.colours)
    constants = {
        "pre_two": np.array([2]),
        "pre_axes": np.array([2, 3]),
        "pre_sides": np.array([side, side]),
        "pre_scale": 1 / (255 * std),
        "pre_offset": -mean / std,
    }
    if resize is not None:
        constants["pre_resize"] = np.array([resize], np.float64)
    before = parser.parse_model(text)
    before.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    merged: onnx.ModelProto = compose.merge_models(before, model, io_map=[("pre_images", "images")])
    return merged
