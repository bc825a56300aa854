"""Networks that label pictures of heads, their training on rendered truth, and their export to ONNX."""
