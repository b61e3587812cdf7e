"""python classify.py model.onnx IMAGE: an exported network (export=onnx export.preprocess=true) without nas_lightning."""

import json, sys, numpy, onnxruntime, PIL.Image, PIL.ImageOps  # noqa: E401, I001

model = onnxruntime.InferenceSession(sys.argv[1])
model.get_inputs()[0].name == "pixels" or sys.exit(f"{sys.argv[1]} reads no photos: it needs export.preprocess=true.")
pixels = numpy.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(sys.argv[2])).convert("RGB"))[None]
print(json.loads(model.get_modelmeta().custom_metadata_map["classes"])[model.run(None, {"pixels": pixels})[0].argmax()])
