"""Lowering of ONNX operators onto the float network, one module a group of operators."""
