"""Checks an ONNX model from outside: what it is, and that it runs in ONNX Runtime.

Usage: check_model.py MODEL ANSWERS, the latter as `phasewatch model run` printed them. Needs onnx, onnxruntime and numpy.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime


def main(path, answers_path):
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model)
    assert model.ir_version <= 8, model.ir_version
    assert all(opset.version <= 17 for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    assert not any(tensor.external_data for tensor in model.graph.initializer), "external data"
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["phasewatch.contract"] == "1"
    channels = len(json.loads(properties["phasewatch.energies_ev"]))
    clusters = json.loads(properties["phasewatch.clusters"])
    answers = json.load(open(answers_path))
    assert answers["clusters"] == clusters

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(7)
    rows = 5
    mask = (rng.random((rows, channels)) < 0.5).astype(np.float32)
    feeds = {"spectrum": rng.normal(size=(rows, channels)).astype(np.float32) * mask, "mask": mask}
    if "sigma" in {entry.name for entry in session.get_inputs()}:
        feeds["sigma"] = np.full((rows, channels), 0.1, np.float32) * mask
    (posterior,) = session.run(["cluster_posterior"], feeds)
    assert posterior.shape == (rows, len(clusters))
    assert np.allclose(posterior.sum(axis=1), 1, atol=1e-5), posterior.sum(axis=1)
    (again,) = session.run(["cluster_posterior"], feeds)
    assert np.array_equal(posterior, again), "not deterministic"
    print(f"{path}: keeps the contract, {len(clusters)} clusters over {channels} channels")


main(*sys.argv[1:])
