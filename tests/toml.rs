//! Networks from TOML files: the same as those built by calls, and errors that say where and what.

use ndarray::Array2;
use nengo_wgpu::network::{
    Activation, Connection, Decoding, Distribution, Draw, Ensemble, Function, Init, Interpolation, Layer,
    LinearFilter, Method, Network, NetworkSpec, Node, Noise, Process, StateSpace, Synapse, Target, Transform,
    WhiteSignal,
};
use nengo_wgpu::train::{Backprop, Decay, Loss, Metric, Optimiser, Over, Penalty, Select};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Simulator};

fn parse(toml: &str) -> Result<NetworkSpec, Error> {
    NetworkSpec::parse(toml, "dir/net.toml")
}

fn build(toml: &str) -> Result<Network, Error> {
    parse(toml)?.build()
}

/// The message of what is wrong with a network.
fn problem(toml: &str) -> String {
    match build(toml).and_then(|net| Simulator::new(&net, &Device::cpu()).map(drop)) {
        Ok(()) => panic!("nothing is wrong with {toml}"),
        Err(error) => error.to_string(),
    }
}

/// Line and column of a TOML error.
fn place(toml: &str) -> (usize, usize, String) {
    match parse(toml) {
        Err(Error::Toml { line, column, message, .. }) => (line, column, message),
        other => panic!("{other:?}"),
    }
}

const WHOLE: &str = r#"
seed = 7
dt = 0.002

[[node]]
name = "in"
size = 3

[[node]]
name = "bias"
constant = [1, 2.5]

[[node]]
name = "sum"
passthrough = 2

[[layer]]
name = "first"
input = "in"
units = 4
activation = { leaky-relu = 0.1 }
init = { uniform = [-1, 1] }
bias-init = { constant = 0.5 }

[[layer]]
name = "flat"
input = ["first"]
activation = "tanh"

[[layer]]
name = "last"
units = 2
bias = false
trainable = false
init = "he"

[[connection]]
pre = "flat"
post = "last"
transform = 2

[[connection]]
pre = "last"
post = "sum"
synapse = 0.005

[[connection]]
pre = "sum"
post = "flat"
transform = { dense = { normal = [0, 0.5] } }
synapse = 0.01
name = "back"

[[connection]]
pre = "bias"
post = "sum"
transform = { vector = { values = [3.0, -1.0] } }
trainable = false

[[probe]]
name = "output"
target = "sum"
synapse = 0.003

[[probe]]
name = "weights"
parameter = "back/weights"

[[probe]]
name = "norm"
norm = "first/weights"
"#;

/// What `WHOLE` says, by calls.
fn whole() -> Result<Network, Error> {
    let mut net = Network::new(7);
    let input = net.node("in", Node::Input(3))?;
    let bias = net.node("bias", Node::Constant(vec![1.0, 2.5]))?;
    let sum = net.node("sum", Node::Passthrough(2))?;
    let first = Layer { bias_init: Init::Constant(0.5), ..Layer::dense(4) };
    let first = first.activation(Activation::LeakyRelu(0.1)).init(Init::Uniform(-1.0, 1.0));
    let first = net.layer("first", first, input)?;
    let flat = net.layer("flat", Layer::elementwise(Activation::Tanh), first)?;
    let last = Layer::dense(2).no_bias().frozen().init(Init::He);
    let last = net.unconnected_layer("last", last, 4)?;
    net.connect(flat, last, Connection::new().transform(Transform::Scalar(2.0)))?;
    net.connect(last, sum, Connection::new().synapse(Synapse::Lowpass(0.005)))?;
    let back = Connection::new().transform(Transform::Dense(Init::Normal(0.0, 0.5))).named("back");
    net.connect(sum, flat, back.synapse(Synapse::Lowpass(0.01)))?;
    let fixed = Transform::Vector(Init::Values(vec![3.0, -1.0]));
    net.connect(bias, sum, Connection::new().transform(fixed).frozen())?;
    net.add_probe("output", Target::Output(sum, Some(Synapse::Lowpass(0.003))))?;
    net.add_probe("weights", Target::Parameter("back/weights".into()))?;
    net.add_probe("norm", Target::Norm("first/weights".into()))?;
    Ok(net)
}

#[test]
fn a_network_from_toml_is_the_one_built_by_calls() {
    let (ours, theirs) = (build(WHOLE).unwrap(), whole().unwrap());
    assert_eq!(ours.parameters(), theirs.parameters());
    let outputs = |net: &Network| {
        let options = Options { minibatch: 2, dt: 0.002, seed: None };
        let mut sim = Simulator::with(net, &Device::cpu(), options).unwrap();
        let x = Array2::from_shape_fn((2, 3), |(b, i)| (b + 2 * i) as f32 - 1.5);
        sim.run_steps(20, &Data::new().with("in", x)).unwrap();
        net.probe_ids().map(|p| sim.data(p).unwrap()).collect::<Vec<_>>()
    };
    let (a, b) = (outputs(&ours), outputs(&theirs));
    assert_eq!(a, b);
    assert!(a[0].iter().any(|x| *x != 0.0));
}

#[test]
fn an_array_is_a_row_for_each_step() {
    let toml =
        "[[node]]\nname = \"a\"\narray = [[1, 2], [3, 4], [5, 6]]\n[[probe]]\nname = \"p\"\ntarget = \"a\"";
    let net = build(toml).unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(3, &Data::new()).unwrap();
    let data = sim.data(net.find_probe("p").unwrap()).unwrap();
    assert_eq!(data.iter().copied().collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn synapses_and_processes_are_those_built_by_calls() {
    let toml = r#"
[[node]]
name = "signal"
size = 2
process = { white-signal = { period = 0.1, high = 50, rms = 0.3, y0 = 0.1 } }

[[node]]
name = "images"
process = { present-input = { inputs = [[1, 2], [3, 4]], presentation-time = 0.01 } }

[[node]]
name = "pieces"
process.piecewise = { times = [0.01, 0.02], values = [[1, 0], [0, 2]], interpolation = "linear" }

[[node]]
name = "white"
size = 2
process.white-noise = { distribution = { uniform = [-1, 1] }, scale = false }

[[node]]
name = "filtered"
size = 2
process.filtered-noise = { synapse = { alpha = 0.01 }, seed = 5 }

[[node]]
name = "brown"
size = 2
process.brown-noise = { distribution = { normal = [0, 0.5] } }

[[node]]
name = "sum"
passthrough = 2

[[connection]]
pre = "signal"
post = "sum"
synapse = 0.005

[[connection]]
pre = "images"
post = "sum"
synapse.triangle = 0.01

[[connection]]
pre = "pieces"
post = "sum"
synapse.linear = { numerator = [1], denominator = [0.0003, 0.03, 1], method = "bilinear" }

[[connection]]
pre = "white"
post = "sum"
synapse.state-space = { a = [[0.5, 0.1], [0, 0.3]], b = [1, 2], c = [0.5, 0.25], d = 0.125, analog = false }

[[connection]]
pre = "filtered"
post = "sum"

[[connection]]
pre = "brown"
post = "sum"
synapse.lowpass = 0.01

[[probe]]
name = "p"
target = "sum"
synapse.alpha = 0.002
"#;
    let calls = || {
        let mut net = Network::new(0);
        let signal = net.node("signal", Node::process(WhiteSignal::new(2, 0.1, 50.0).rms(0.3).y0(0.1)))?;
        let images = Process::present_input(ndarray::array![[1.0, 2.0], [3.0, 4.0]], 0.01);
        let images = net.node("images", Node::process(images))?;
        let pieces = ndarray::array![[1.0, 0.0], [0.0, 2.0]];
        let pieces = Process::interpolated(&[0.01, 0.02], pieces, Interpolation::Linear);
        let pieces = net.node("pieces", Node::process(pieces))?;
        let white = Noise::white(2).distribution(Draw::Uniform(-1.0, 1.0)).unscaled();
        let white = net.node("white", Node::process(white))?;
        let filtered =
            net.node("filtered", Node::process(Noise::filtered(2, Synapse::Alpha(0.01)).seed(5)))?;
        let brown = Noise::brown(2).distribution(Draw::Normal(0.0, 0.5));
        let brown = net.node("brown", Node::process(brown))?;
        let sum = net.node("sum", Node::Passthrough(2))?;
        net.connect(signal, sum, Connection::new().synapse(Synapse::Lowpass(0.005)))?;
        net.connect(images, sum, Connection::new().synapse(Synapse::Triangle(0.01)))?;
        let bilinear = LinearFilter::new(&[1.0], &[0.0003, 0.03, 1.0]).method(Method::Bilinear);
        net.connect(pieces, sum, Connection::new().synapse(bilinear))?;
        let system = StateSpace {
            a: ndarray::array![[0.5, 0.1], [0.0, 0.3]],
            b: ndarray::array![[1.0], [2.0]],
            c: ndarray::array![[0.5, 0.25]],
            d: 0.125,
        };
        net.connect(white, sum, Connection::new().synapse(LinearFilter::state_space(system).digital()))?;
        net.connect(filtered, sum, Connection::new())?;
        net.connect(brown, sum, Connection::new().synapse(Synapse::Lowpass(0.01)))?;
        net.add_probe("p", Target::Output(sum, Some(Synapse::Alpha(0.002))))?;
        Ok::<_, Error>(net)
    };
    let run = |net: Network| {
        let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
        sim.run_steps(60, &Data::new()).unwrap();
        sim.data(net.find_probe("p").unwrap()).unwrap()
    };
    let (ours, theirs) = (run(build(toml).unwrap()), run(calls().unwrap()));
    assert_eq!(ours, theirs);
    assert!(ours.iter().skip(2).all(|x| *x != 0.0), "{ours}");
}

#[test]
fn synapses_and_processes_that_make_no_sense_are_told_of() {
    let signal = "[[node]]\nname = \"a\"\n";
    let text =
        problem(&format!("{signal}size = 3\nprocess.piecewise = {{ times = [0], values = [[1, 2]] }}"));
    assert!(text.contains("node 'a'") && text.contains("is 3") && text.contains("is 2"), "{text}");
    let text = problem(&format!("{signal}constant = [1]\nprocess.white-noise = {{}}"));
    assert!(text.contains("node 'a'") && text.contains("process"), "{text}");
    let text = problem(&format!("{signal}process.piecewise = {{ times = [0, 1], values = [[1, 2], [3]] }}"));
    assert!(text.contains("node 'a'") && text.contains("row 2"), "{text}");
    let probe = "size = 1\n[[probe]]\nname = \"p\"\ntarget = \"a\"\n";
    let text =
        problem(&format!("{signal}{probe}synapse.linear = {{ numerator = [1], denominator = [1, 0] }}"));
    assert!(text.contains("probe 'p'") && text.contains("pole 1.0"), "{text}");
    let (line, _, message) = place(&format!("{signal}{probe}synapse = \"slow\""));
    assert!(line == 7 && message.contains("time constant") && message.contains("triangle"), "{message}");
    let (line, _, message) = place(&format!("{signal}process.white-noise = {{ mean = 1 }}"));
    assert!(line == 3 && message.contains("`mean`"), "{message}");
}

#[test]
fn errors_have_line_and_column() {
    let (line, column, message) = place("seed = 0\n[[node]]\nname = \"a\"\nsiez = 3\n");
    assert_eq!((line, column), (4, 1));
    assert!(message.contains("siez") && message.contains("size"), "{message}");

    let (line, column, message) = place("[[layer]]\nname = \"a\"\nunits = \"many\"\n");
    assert_eq!((line, column), (3, 9));
    assert!(message.contains("usize") || message.contains("many"), "{message}");

    let (line, _, message) = place("seed = 0\n\n[[layer]]\nname = \"a\"\nactivation = \"rleu\"\n");
    assert_eq!(line, 5);
    assert!(message.contains("rleu") && message.contains("relu"), "{message}");

    let (line, column, _) = place("seed = 0\nname = = 3\n");
    assert_eq!((line, column), (2, 8));
    // Columns count letters, not bytes.
    assert_eq!(place("[[node]]\nname = \"ü\" x\n").1, 12);
    let text = parse("x = 1").unwrap_err().to_string();
    assert!(text.starts_with("dir/net.toml:1:1: "), "{text}");
}

#[test]
fn a_second_entry_where_there_can_be_one_is_not_passed_over() {
    let neurons = |of: &str| format!("[[neurons]]\nname = \"n\"\nn = 2\ntype = {of}\n");
    let connection = |rest: &str| {
        neurons("\"tanh\"")
            + "[[node]]\nname = \"x\"\nsize = 2\n[[connection]]\npre = \"x\"\npost = \"n\"\n"
            + rest
    };
    for (toml, second) in [
        (neurons("{ lif = {}, tau-rc = 0.1 }"), "'tau-rc'"),
        (neurons("{ lif = {}, tanh = {} }"), "'tanh'"),
        (connection("transform = { dense = { constant = 2.0 }, scale = 7.0 }"), "'scale'"),
        (connection("learning-rule = { pes = {}, voja = {} }"), "'voja'"),
        (connection("solver = { method = { lstsq = {}, nnls = {} } }"), "'nnls'"),
    ] {
        let text = problem(&toml);
        assert!(text.contains(second) && text.contains("beside"), "{text}");
    }
}

#[test]
fn unknown_settings_are_refused_in_every_table() {
    let node = "[[node]]\nname = \"a\"\nsize = 1\n";
    let train = "[train]\nepochs = 1\nlearning-rate = 0.1\nloss = \"mean-squared\"\n";
    for (toml, key) in [
        ("sede = 1\n".to_string(), "sede"),
        (format!("{node}shape = 1\n"), "shape"),
        ("[[layer]]\nname = \"a\"\nunit = 1\n".into(), "unit"),
        ("[[connection]]\npre = \"a\"\npost = \"a\"\ndelay = 1\n".into(), "delay"),
        ("[[probe]]\nname = \"a\"\nof = \"a\"\n".into(), "of"),
        ("[data]\nformat = \"csv\"\npath = \"x\"\nlabels = \"last\"\n".into(), "labels"),
        ("[split]\ntests = 3\n".into(), "tests"),
        (format!("{train}rate = 1\n"), "rate"),
        (format!("{train}[train.optimiser]\nkind = \"adam\"\nbeta = 1\n"), "beta"),
        (format!("{train}[train.schedule]\nkind = \"step\"\nevry = 1\n"), "evry"),
        (format!("{train}[[train.penalty]]\non = \"all\"\nl2 = 1\n"), "l2"),
        (format!("{train}[[train.activity]]\nprobe = \"a\"\nl3 = 1\n"), "l3"),
        (format!("{train}[[train.group]]\non = \"all\"\nspeed = 1\n"), "speed"),
        (format!("{train}[train.early-stopping]\npatience = 1\nwait = 1\n"), "wait"),
    ] {
        let (line, _, message) = place(&toml);
        assert!(message.contains(&format!("`{key}`")), "{toml}: {message}");
        assert!(line >= 1);
    }
}

#[test]
fn what_does_not_fit_names_both_objects() {
    let node = "[[node]]\nname = \"in\"\nsize = 3\n";
    let text = problem(&format!("{node}[[layer]]\nname = \"a\"\ninput = \"im\"\nunits = 2\n"));
    assert_eq!(text, "there is no object named 'im'; there is: in, a");

    let text = problem(&format!("{node}[[probe]]\nname = \"p\"\ntarget = \"out\"\n"));
    assert!(text.contains("'out'") && text.contains("in"), "{text}");

    let other = "[[node]]\nname = \"other\"\nconstant = [1, 2]\n";
    let text =
        problem(&format!("{node}{other}[[layer]]\nname = \"a\"\ninput = [\"in\", \"other\"]\nunits = 2\n"));
    for part in ["'other'", "'a'", "is 2,", "is 3;"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = problem("[[node]]\nname = \"in\"\nsize = 3\nconstant = [1]\n");
    assert!(text.contains("node 'in'") && text.contains("exactly one"), "{text}");

    let text = problem("[[node]]\nname = \"in\"\narray = [[1, 2], [3]]\n");
    assert!(text.contains("row 2") && text.contains("1 values"), "{text}");

    let text =
        problem(&format!("{node}[[layer]]\nname = \"a\"\ninput = \"in\"\nunits = 4611686018427387904\n"));
    assert!(text.contains("'a/weights'") && text.contains("memory"), "{text}");

    let text = problem("[[node]]\nname = \"in\"\narray = [[1], [nan]]\n");
    assert!(text.contains("node 'in'") && text.contains("NaN"), "{text}");

    let text = problem("[[layer]]\nname = \"alone\"\nunits = 2\n");
    assert!(text.contains("'alone'") && text.contains("size-in"), "{text}");
}

#[test]
fn a_cycle_without_delay_names_its_objects() {
    let layers = "[[layer]]\nname = \"a\"\ninput = \"b\"\nunits = 2\n[[layer]]\nname = \"b\"\ninput = \"a\"\nunits = 2\n";
    let layers = &format!("{layers}[[probe]]\nname = \"p\"\ntarget = \"a\"\n");
    let text = problem(layers);
    assert!(text.contains("b -> a") && text.contains("a -> b") && text.contains("synapse"), "{text}");
}

const TRAIN: &str = r#"
[[node]]
name = "x"
size = 2

[[layer]]
name = "y"
input = "x"
units = 3

[[probe]]
name = "p"
target = "y"

[train]
epochs = 4
minibatch = 2
learning-rate = 0.5
metrics = ["accuracy", { mean-error = "p" }]
optimiser = { kind = "adam", epsilon-at = "root-before-correction" }
schedule = { kind = "cosine", warm-up = 2 }
clip = { global-norm = 1.0 }

[[train.loss]]
probe = "p"
loss = { huber = 1.5 }
weight = 2

[[train.penalty]]
on = "y/weights"
l2-half = 0.1
l1 = 0.2

[[train.activity]]
probe = "p"
l2-sum = 0.3

[[train.group]]
on = "biases"
rate = 0.5
"#;

#[test]
fn a_training_says_what_the_file_says() {
    let spec = parse(TRAIN).unwrap();
    let training = spec.training(&spec.build().unwrap(), 5).unwrap();
    assert_eq!(training.objective.terms.len(), 1);
    let term = &training.objective.terms[0];
    assert_eq!((term.loss, term.weight), (Loss::Huber(1.5), 2.0));
    assert_eq!(training.objective.activities, [("p".to_string(), Penalty::L2Sum(0.3))]);
    let weights = || Select::parameter("y/weights");
    assert_eq!(training.penalties, [(weights(), Penalty::L2Half(0.1)), (weights(), Penalty::L1(0.2))]);
    assert_eq!(training.metrics, [Metric::Accuracy("p".into()), Metric::MeanError("p".into())]);
    assert!(matches!(training.optimiser, Optimiser::Adam { .. }));
    // Three minibatches an epoch, four epochs, two steps of warm-up.
    assert_eq!(training.schedule.decay, Decay::Cosine { steps: 10, floor: 0.0 });
    assert_eq!((training.groups[0].rate, training.groups[0].parameters.clone()), (0.5, Select::Biases));
}

#[test]
fn a_training_from_toml_trains() {
    let spec = parse(TRAIN).unwrap();
    let net = spec.build().unwrap();
    let options = Options { minibatch: 2, ..Options::default() };
    let mut sim = Simulator::with(&net, &Device::cpu(), options).unwrap();
    sim.compile(spec.training(&net, 3).unwrap()).unwrap();
    let examples = nengo_wgpu::io::dataset::Dataset {
        inputs: ndarray::array![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        targets: ndarray::array![[0.0], [1.0], [2.0]],
    };
    let (inputs, targets) = spec.signals(&net, &examples).unwrap();
    let reports = sim.fit(&inputs, &targets, &Fit::epochs(30)).unwrap();
    assert!(reports[29].loss < reports[0].loss, "{reports:?}");

    let high = nengo_wgpu::io::dataset::Dataset { targets: ndarray::array![[0.0], [1.0], [3.0]], ..examples };
    let text = spec.signals(&net, &high).unwrap_err().to_string();
    assert!(text.contains("class 3") && text.contains("'p'"), "{text}");
}

#[test]
fn settings_without_effect_are_refused() {
    let with = |from: &str, to: &str| {
        let spec = parse(&TRAIN.replace(from, to)).unwrap();
        spec.training(&spec.build().unwrap(), 5).unwrap_err().to_string()
    };
    assert!(with("warm-up = 2", "every = 3").contains("every"));
    assert!(with("kind = \"cosine\"", "kind = \"step\"").contains("factor"));
    assert!(with("l2-sum = 0.3", "").contains("no strength"));
}

#[test]
fn windows_budgets_and_what_a_loss_sees_are_said_in_the_file() {
    let training = |lines: &str| {
        let spec = parse(&TRAIN.replace("epochs = 4", &format!("epochs = 4\n{lines}"))).unwrap();
        spec.training(&spec.build().unwrap(), 5)
    };
    let of = |lines: &str| training(lines).map(|t| (t.backprop, t.memory_budget)).unwrap();
    assert_eq!(of(""), (None, None));
    assert_eq!(of("backprop = \"full\""), (Some(Backprop::Full), None));
    assert_eq!(of("backprop = \"truncated\"\nwindow = 5"), (Some(Backprop::Truncated(5)), None));
    let both = of("backprop = \"checkpointed\"\nwindow = 7\nmemory-budget = 1000");
    assert_eq!(both, (Some(Backprop::Checkpointed(7)), Some(1000)));
    for (text, bytes) in [("2 GiB", 2 << 30), ("1.5 kB", 1500), ("64MiB", 64 << 20), ("12 B", 12)] {
        assert_eq!(of(&format!("memory-budget = \"{text}\"")).1, Some(bytes), "{text}");
    }
    for text in ["2", "GiB", "two GiB", "-1 GiB", "1 TX"] {
        let (line, _, message) =
            place(&TRAIN.replace("epochs = 4", &format!("memory-budget = \"{text}\"\nepochs = 4")));
        assert!(line > 10 && message.contains(text), "{text}: {message}");
    }
    for lines in ["window = 5", "backprop = \"full\"\nwindow = 5", "backprop = \"truncated\""] {
        let text = training(lines).unwrap_err().to_string();
        assert!(text.contains("window"), "{text}");
    }
    assert!(training("over = \"last\"").unwrap_err().to_string().contains("[[train.loss]]"));
    for (name, over) in
        [("every", Over::Every), ("last", Over::Last), ("sum", Over::Sum), ("mean", Over::Mean)]
    {
        let spec = parse(&TRAIN.replace("weight = 2", &format!("over = \"{name}\""))).unwrap();
        assert_eq!(spec.training(&spec.build().unwrap(), 5).unwrap().objective.terms[0].over, over);
    }
}

const ENSEMBLES: &str = r#"
seed = 3

[config]
synapse = 0.005
solver = { method = { lstsq-l2 = { reg = 0.05 } } }

[config.ensemble]
neuron-type = "lif-rate"
radius = 1.5

[[node]]
name = "x"
constant = [0.5, -0.4]

[[ensemble]]
name = "a"
input = "x"
n-neurons = 60
dimensions = 2
intercepts = { uniform = [-0.9, 0.9] }

[[ensemble]]
name = "array"
n-neurons = 40
n-ensembles = 2
radius = 1.0
n-eval-points = 300
seed = 5

[[output]]
of = "array"
name = "squares"
function = "x^2"

[[network]]
name = "product"
product = { n-neurons = 100, dimensions = 1 }

[[connection]]
pre = "a"
post = "array"

[[connection]]
pre = "a[0]"
post = "product.input_a"
function = "x + 0.1"
synapse = "none"

[[connection]]
pre = "array.squares[1]"
post = "product.input_b"

[[connection]]
pre = "x[0]"
post = "a.neurons[3]"
synapse = "none"

[[probe]]
name = "squares"
target = "array.squares"

[[probe]]
name = "product"
target = "product.output"

[[probe]]
name = "a"
target = "a"
synapse = 0.01
"#;

#[test]
fn ensembles_from_toml_are_those_built_by_calls() {
    let mut net = Network::new(3);
    net.config.connection.synapse = Some(0.005.into());
    net.config.solver = nengo_wgpu::solve::Method::LstsqL2 { reg: 0.05 }.into();
    net.config.ensemble.neuron_type = Some(nengo_wgpu::op::neuron::LifRate::default().into());
    net.config.ensemble.radius = Some(1.5);
    let x = net.node("x", Node::Constant(vec![0.5, -0.4])).unwrap();
    let a = Ensemble::new(60, 2).intercepts(Distribution::Uniform(-0.9, 0.9));
    let a = net.ensemble("a", a).unwrap();
    let array = Ensemble::array(40, 2).radius(1.0).n_eval_points(300).seed(5);
    let array = net.ensemble("array", array).unwrap();
    let product = nengo_wgpu::network::library::Product::new(100, 1).add(&mut net, "product").unwrap();
    let squares = net.add_output(array, "squares", Decoding::of(Function::parse("x^2").unwrap())).unwrap();
    net.connect(x, a, Connection::new()).unwrap();
    let through = || Connection::new().synapse(0.005);
    net.connect(a, array, through()).unwrap();
    let more = Connection::new().pre(0).function(|x: &[f64]| vec![x[0] + 0.1]);
    net.connect(a, product.input_a, more).unwrap();
    net.connect(squares, product.input_b, through().pre(1)).unwrap();
    net.connect(x, net.neurons_of(a).unwrap(), Connection::new().pre(0).post(3)).unwrap();
    net.probe("squares", squares).unwrap();
    net.probe("product", product.output).unwrap();
    net.add_probe("a", Target::Output(a, Some(0.01.into()))).unwrap();
    let run = |net: &Network| {
        let mut sim = Simulator::new(net, &Device::cpu()).unwrap();
        sim.run_steps(200, &Data::new()).unwrap();
        ["squares", "product", "a"].map(|p| sim.data(net.find_probe(p).unwrap()).unwrap())
    };
    let (from_toml, by_calls) = (run(&build(ENSEMBLES).unwrap()), run(&net));
    assert_eq!(from_toml, by_calls);
    let [squares, product, _] = by_calls;
    assert!(
        (squares[[0, 199, 0]] - 0.25).abs() < 0.05 && (squares[[0, 199, 1]] - 0.16).abs() < 0.05,
        "{squares}"
    );
    assert!((product[[0, 199, 0]] - 0.6 * 0.16).abs() < 0.05, "{product}");
}

#[test]
fn mistakes_in_ensembles_are_told_with_line_column_and_name() {
    let with = |from: &str, to: &str| {
        assert!(ENSEMBLES.contains(from));
        ENSEMBLES.replacen(from, to, 1)
    };
    let (line, column, message) = place(&with("\"x + 0.1\"", "\"x + y\""));
    assert_eq!((line, column), (47, 12), "{message}");
    assert!(message.contains("'y' in column 5"), "{message}");
    let (line, _, message) = place(&with("n-eval-points = 300", "n-eval-pionts = 300"));
    assert!(line == 28 && message.contains("n-eval-pionts"), "{line} {message}");
    let (_, _, message) = place(&with("function = \"x^2\"", "function = 3"));
    assert!(message.contains("a function as text, or a list of some"), "{message}");
    let text = problem(&with("\"x^2\"", "[\"x\", \"x\", \"x\"]"));
    assert!(text.contains("'array.squares'") && text.contains("3 functions"), "{text}");
    let text = problem(&with(
        "product = {",
        "oscillator = { recurrent-tau = 0.1, frequency = 1.0, n-neurons = 5 }\nproduct = {",
    ));
    assert!(text.contains("exactly one"), "{text}");
    assert!(problem(&with("of = \"array\"", "of = \"x\"")).contains("'x': it is no ensemble"));
}
