"""Times other tools at the networks of `nengo-wgpu bench`, which runs this script with --vs.

Called as `python peers.py '{"peer": "nengo", "net": "cconv", ...}'` for `bench net`: Nengo or NengoDL; prints one line of JSON:
seconds of each timed run. Networks without training and minibatch run on Nengo's reference simulator too.

Called as `python peers.py '{"peer": "torch", "workload": "rnn", "repeats": 5}'` for `bench rnn spiking lmu`: torch,
torch-compile, snntorch or nengo-dl; prints seconds of a training step and of a forward pass of one minibatch, for each timed
run. With `"gpu": true` PyTorch and snnTorch run on the CUDA card, where PyTorch sees one. The networks are those of the benchmark, but neurons differ: snnTorch's and torch's are leaky with a factor of 0.9 and
trained with a surrogate; NengoDL trains LIF neurons by their rates and runs their spikes.
"""
import json
import os
import sys
import time

import numpy as np


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


def network(nengo, spec):
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


def seconds_of(run, repeats):
    """Seconds of each timed run, after one that warms up."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


# Minibatches of one timed pass.
PASS = {"rnn": 4, "spiking": 4, "lmu": 1}
TAU = 0.005


def weights(rng, size_out, size_in, gain):
    return (gain / np.sqrt(size_in) * rng.standard_normal((size_out, size_in))).astype(np.float32)


def data(workload):
    """Inputs and targets of a pass: (examples, steps, size), of an image that is held (examples, size) and classes."""
    rng = np.random.default_rng(1)
    if workload == "spiking":
        return rng.random((PASS[workload] * 128, 784), np.float32), rng.integers(0, 10, PASS[workload] * 128)
    steps, batch, size = (100, 32, 64) if workload == "rnn" else (1000, 100, 1)
    x = rng.standard_normal((PASS[workload] * batch, steps, size), np.float32)
    return x, rng.standard_normal((PASS[workload] * batch, steps, 10), np.float32)


def in_torch(peer, workload, gpu):
    """A training pass and a forward pass in PyTorch or snnTorch."""
    import torch

    on_card = gpu and torch.cuda.is_available()
    torch.set_default_device("cuda" if on_card else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = False
    rng = np.random.default_rng(0)
    n_in, n, n_out, batch = (64, 256, 10, 32) if workload == "rnn" else (784, 512, 10, 128)
    drawn = [weights(rng, n, n_in, 1.0 if workload == "rnn" else 2.0), weights(rng, n_out, n, 1.0)]
    w_in, w_out = parameters = [torch.tensor(w.T.copy(), requires_grad=True) for w in drawn]
    bias = torch.zeros(n, requires_grad=True)
    parameters.append(bias)
    x_all, y_all = (torch.tensor(a) for a in data(workload))
    if workload == "rnn":
        w_rec = torch.tensor(weights(rng, n, n, 0.9).T.copy(), requires_grad=True)
        parameters.append(w_rec)
        decay = float(np.exp(-0.001 / TAU))
        optimiser, loss = torch.optim.SGD(parameters, lr=1e-3), torch.nn.functional.mse_loss

        def forward(x):
            current = x @ w_in + bias
            filtered, rates = torch.zeros(x.shape[0], n), []
            for step in current.unbind(1):
                rate = torch.relu(step + filtered)
                rates.append(rate)
                filtered = torch.addmm(filtered, rate, w_rec, beta=decay, alpha=1 - decay)
            return torch.stack(rates, 1) @ w_out

    else:
        optimiser, loss = torch.optim.Adam(parameters, lr=1e-3), torch.nn.functional.cross_entropy
        if peer == "snntorch":
            import snntorch

            leaky = snntorch.Leaky(beta=0.9, spike_grad=snntorch.surrogate.fast_sigmoid())

            def step(current, voltage):
                return leaky(current, voltage)

        else:

            class Spike(torch.autograd.Function):
                @staticmethod
                def forward(ctx, above):
                    ctx.save_for_backward(above)
                    return (above > 0).float()

                @staticmethod
                def backward(ctx, dy):
                    (above,) = ctx.saved_tensors
                    return dy / (1 + 25 * above.abs()) ** 2

            def step(current, voltage):
                voltage = 0.9 * voltage + current - (voltage.detach() > 1).float()
                return Spike.apply(voltage - 1), voltage

        def forward(x):
            # The image is held, so that its product is the same at each step.
            current = torch.addmm(bias, x, w_in)
            voltage, counts = torch.zeros(x.shape[0], n), 0
            for _ in range(25):
                spikes, voltage = step(current, voltage)
                counts = counts + spikes
            return counts @ w_out

    if peer == "torch-compile":
        forward = torch.compile(forward)

    def train():
        for i in range(0, PASS[workload] * batch, batch):
            optimiser.zero_grad(set_to_none=True)
            error = loss(forward(x_all[i : i + batch]), y_all[i : i + batch])
            error.backward()
            optimiser.step()
            error.item()

    def infer():
        with torch.no_grad():
            for i in range(0, PASS[workload] * batch, batch):
                forward(x_all[i : i + batch])
        if on_card:
            torch.cuda.synchronize()

    return train, infer


def in_nengo_dl(workload):
    """A training pass and a forward pass in NengoDL."""
    nengo_dl = nengo_dl_module()
    import nengo
    from nengo_dl import benchmarks
    import tensorflow as tf

    rng = np.random.default_rng(0)
    one, zero = nengo.dists.Choice([1]), nengo.dists.Choice([0])
    x, y = data(workload)
    loss, optimiser = tf.losses.mse, tf.optimizers.SGD(1e-3)
    if workload == "lmu":
        net, batch = benchmarks.lmu(1000, 1, native_nengo=True), 100
        inputs, probe = net.inp, net.p
    elif workload == "rnn":
        batch = 32
        with nengo.Network(seed=0) as net:
            nengo_dl.configure_settings(stateful=False)
            inputs, out = nengo.Node(np.zeros(64)), nengo.Node(size_in=10)
            neurons = nengo.Ensemble(256, 1, gain=one, bias=zero, neuron_type=nengo.RectifiedLinear()).neurons
            nengo.Connection(inputs, neurons, transform=weights(rng, 256, 64, 1.0), synapse=None)
            nengo.Connection(neurons, neurons, transform=weights(rng, 256, 256, 0.9), synapse=TAU)
            nengo.Connection(neurons, out, transform=weights(rng, 10, 256, 1.0), synapse=None)
            probe = nengo.Probe(out)
    else:
        batch = 128
        with nengo.Network(seed=0) as net:
            nengo_dl.configure_settings(stateful=False)
            inputs, out = nengo.Node(np.zeros(784)), nengo.Node(size_in=10)
            lif = nengo.LIF(amplitude=0.01)
            neurons = nengo.Ensemble(512, 1, gain=one, bias=one, neuron_type=lif).neurons
            nengo.Connection(inputs, neurons, transform=weights(rng, 512, 784, 2.0), synapse=None)
            nengo.Connection(neurons, out, transform=weights(rng, 10, 512, 1.0), synapse=None)
            probe = nengo.Probe(out)
        x, y = np.repeat(x[:, None], 25, axis=1), np.repeat(y[:, None, None], 25, axis=1)
        entropy = tf.losses.SparseCategoricalCrossentropy(from_logits=True)
        loss, optimiser = (lambda y, z: entropy(y[:, 0], tf.reduce_sum(z, axis=1))), tf.optimizers.Adam(1e-3)
    sim = nengo_dl.Simulator(net, minibatch_size=batch, progress_bar=False)
    sim.compile(optimiser, loss={probe: loss})

    def train():
        sim.fit({inputs: x}, {probe: y}, epochs=1, shuffle=False, verbose=0)

    return train, lambda: sim.predict({inputs: x}, verbose=0)


def in_time(peer, workload, repeats, gpu=False):
    """Seconds of a training step and of a forward pass of one minibatch."""
    train, infer = in_nengo_dl(workload) if peer == "nengo-dl" else in_torch(peer, workload, gpu)
    passes = {"training": train, "forward": infer}
    return {k: [s / PASS[workload] for s in seconds_of(run, repeats)] for k, run in passes.items()}


def main():
    spec = json.loads(sys.argv[1])
    if "workload" in spec:
        print(json.dumps(in_time(**spec)))
        return
    batch, steps = spec["batch"], spec["steps"]
    if spec["peer"] == "nengo":
        import nengo

        if batch != 1 or spec["train"]:
            sys.exit("nengo's reference simulator has neither minibatches nor training")
        net, _, _ = network(nengo, spec)
        nengo.rc.set("decoder_cache", "enabled", "False")
        sim = nengo.Simulator(net, progress_bar=False)

        def run():
            sim.run_steps(steps, progress_bar=False)
            sim.clear_probes()

    elif spec["peer"] == "nengo-dl":
        nengo_dl = nengo_dl_module()
        import nengo
        import tensorflow as tf

        net, inputs, probe = network(nengo, spec)
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
    print(json.dumps({"seconds": seconds_of(run, spec["repeats"])}))


main()
