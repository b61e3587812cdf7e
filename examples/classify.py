"""python classify.py model.onnx IMAGE: an exported network (export=onnx export.preprocess=true) without nas_lightning."""

import json, sys, numpy, onnxruntime, PIL.Image, PIL.ImageOps  # noqa: E401, I001

session = onnxruntime.InferenceSession(sys.argv[1])
image = PIL.ImageOps.exif_transpose(PIL.Image.open(sys.argv[2])).convert("RGB")
(logits,) = session.run(None, {"pixels": numpy.asarray(image)[None]})
print(json.loads(session.get_modelmeta().custom_metadata_map["classes"])[logits[0].argmax()])
