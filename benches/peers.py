"""Times Nengo or NengoDL at the networks of `nengo-wgpu bench net`, which runs this script with --vs.

Called as `python peers.py '{"peer": "nengo", "net": "cconv", ...}'`; prints one line of JSON: seconds of each timed run.
Networks without training and minibatch run on Nengo's reference simulator too.
"""
import json
import os
import sys
import time


def nengo_dl_module():
    """nengo_dl, also on versions of TensorFlow that moved what it imports."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    try:
        import keras.engine.functional  # noqa: F401
    except ImportError:
        import keras.src.engine as engine
        import keras.src.engine.functional as functional
        from keras.src import layers

        sys.modules["keras.engine"] = keras.engine = engine
        sys.modules["keras.engine.functional"] = functional
        for name in ("BatchNormalizationV1", "BatchNormalizationV2"):
            if not hasattr(keras.layers, name):
                setattr(keras.layers, name, getattr(layers, name, type(name, (), {})))
    import nengo_dl

    return nengo_dl


def network(nengo, np, spec):
    """The network, its inputs and its probe."""
    d, n, kind = spec["dimensions"], spec["neurons_per_d"], spec["net"]
    with nengo.Network(seed=0) as net:
        net.config[nengo.Ensemble].neuron_type = getattr(nengo, spec["neuron_type"])()
        if kind in ("cconv", "integrator", "pes"):
            net.config[nengo.Ensemble].gain = nengo.dists.Choice([1, -1])
            net.config[nengo.Ensemble].bias = nengo.dists.Uniform(-1, 1)
        x = nengo.Node(np.ones(d), label="x")
        inputs = [x]
        if kind == "cconv":
            out = nengo.networks.CircularConvolution(n, d)
            inputs.append(nengo.Node(np.ones(d), label="y"))
            nengo.Connection(inputs[0], out.input_a)
            nengo.Connection(inputs[1], out.input_b)
            out = out.output
        elif kind == "integrator":
            array = nengo.networks.EnsembleArray(n, d)
            nengo.Connection(array.output, array.input, synapse=0.01)
            nengo.Connection(x, array.input, transform=0.01)
            out = array.output
        elif kind == "pes":
            pre, out = nengo.Ensemble(n * d, d), nengo.Node(size_in=d)
            nengo.Connection(x, pre)
            learned = nengo.Connection(pre, out, learning_rule_type=nengo.PES())
            nengo.Connection(out, learned.learning_rule, transform=-1)
            nengo.Connection(x, learned.learning_rule)
        elif kind == "basal-ganglia":
            bg = nengo.networks.BasalGanglia(d, n)
            nengo.Connection(x, bg.input)
            out = bg.output
        elif kind == "random-network":
            out = nengo.Node(size_in=d)
            ensembles = [nengo.Ensemble(n * d, d) for _ in range(spec["n_ensembles"])]
            small = np.full((n * d, d), 1e-3 / (n * d * max(spec["connections"], 1)))
            solver, rng = nengo.solvers.NoSolver(small), np.random.RandomState(0)
            for ensemble in ensembles:
                nengo.Connection(x, ensemble)
                nengo.Connection(ensemble, out, solver=solver)
                for i in rng.choice(len(ensembles), spec["connections"], replace=False):
                    nengo.Connection(ensemble, ensembles[i], solver=solver)
        else:
            sys.exit(f"no peer has a network '{kind}' here")
        probe = nengo.Probe(out)
    return net, inputs, probe


def main():
    spec = json.loads(sys.argv[1])
    import numpy as np

    batch, steps = spec["batch"], spec["steps"]
    if spec["peer"] == "nengo":
        import nengo

        if batch != 1 or spec["train"]:
            sys.exit("nengo's reference simulator has neither minibatches nor training")
        net, _, _ = network(nengo, np, spec)
        nengo.rc.set("decoder_cache", "enabled", "False")
        sim = nengo.Simulator(net, progress_bar=False)

        def run():
            sim.run_steps(steps, progress_bar=False)
            sim.clear_probes()

    elif spec["peer"] == "nengo-dl":
        nengo_dl = nengo_dl_module()
        import nengo
        import tensorflow as tf

        net, inputs, probe = network(nengo, np, spec)
        with net:
            nengo_dl.configure_settings(inference_only=not spec["train"], stateful=False)
        sim = nengo_dl.Simulator(net, minibatch_size=batch, progress_bar=False)
        data = {x: np.random.uniform(-1, 1, (batch, steps, x.size_out)) for x in inputs}
        if spec["train"]:
            targets = {probe: np.random.uniform(-1, 1, (batch, steps, probe.size_in))}
            sim.compile(tf.optimizers.SGD(1e-3), loss=tf.losses.mse)

        def run():
            if spec["train"]:
                sim.fit(data, targets, epochs=1, n_steps=steps, verbose=0)
            else:
                sim.predict(data, n_steps=steps, verbose=0)

    else:
        sys.exit(f"unknown peer '{spec['peer']}'; peers are nengo and nengo-dl")
    run()
    seconds = []
    for _ in range(spec["repeats"]):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds}))


main()
