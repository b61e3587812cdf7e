"""python classify.py model.onnx IMAGE: an exported network (export=onnx export.preprocess=true) without nas_lightning."""

import json, sys, numpy, onnxruntime, PIL.Image  # noqa: E401, I001

session = onnxruntime.InferenceSession(sys.argv[1])
pixels = numpy.asarray(PIL.Image.open(sys.argv[2]).convert("RGB"))[None]
(logits,) = session.run(None, {"pixels": pixels})
print(json.loads(session.get_modelmeta().custom_metadata_map["classes"])[logits[0].argmax()])
