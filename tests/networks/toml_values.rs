//! Arrays, functions, distributions and slices as files write them.

use crate::common::messages::Messages;
use crate::file::build;
use nengo_wgpu::network::{Network, Node};
use nengo_wgpu::{Data, Device, Options, Simulator};

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
fn a_function_of_time_is_an_expression_for_each_value() {
    let run = |function: &str| {
        let net = build(&format!(
            "dt = 0.01\n[[node]]\nname = \"a\"\nfunction = {function}\n[[probe]]\nname = \"p\"\ntarget = \"a\""
        ));
        let options = Options { dt: 0.01, ..Options::default() };
        let mut sim = Simulator::with(&net.unwrap(), &Device::cpu(), options).unwrap();
        sim.run_steps(30, &Data::new()).unwrap();
        sim.data(sim.network().find_probe("p").unwrap()).unwrap()
    };
    // As Nengo's nodes see it, the first step ends at dt.
    let wanted = |k: usize| {
        let t = 0.01 * (k + 1) as f64;
        [(2.0 * std::f64::consts::PI * t).sin(), (t - 0.1).max(0.0), 0.5].map(|x| x as f32)
    };
    let wanted = ndarray::Array3::from_shape_fn((1, 30, 3), |(_, k, i)| wanted(k)[i]);
    let list = run(r#"["sin(2*pi*t)", "max(t - 0.1, 0)", "0.5"]"#);
    assert!((&list - &wanted).iter().all(|x| x.abs() < 1e-6), "{list}");
    assert_eq!(run(r#""sin(2*pi*t); max(t - 0.1, 0); 0.5""#), list);
    assert_eq!(run(r#""sin(2*pi*t)""#), list.slice(ndarray::s![.., .., ..1]));
    let mut net = Network::new(0);
    let node = net.node("a", Node::parse("sin(2*pi*t); max(t - 0.1, 0); 0.5").unwrap()).unwrap();
    let p = net.probe("p", node).unwrap();
    let mut sim = Simulator::with(&net, &Device::cpu(), Options { dt: 0.01, ..Options::default() }).unwrap();
    sim.run_steps(30, &Data::new()).unwrap();
    assert_eq!(sim.data(p).unwrap(), list);
}

#[test]
fn a_probe_may_read_some_dimensions() {
    let said = Messages::of("a probe may read some dimensions");
    let toml = r#"
[[node]]
name = "x"
constant = [0.5, -0.4, 0.3]

[[network]]
name = "n"

[[network.ensemble]]
name = "a"
input = "x"
n-neurons = 30
dimensions = 3

[[network.probe]]
name = "three"
target = "a.neurons[0:3]"

[[probe]]
name = "all"
target = "n.a.neurons"

[[probe]]
name = "voltages"
target = "n.a[[4, -1]]"
state = "voltage"

[[probe]]
name = "voltage"
target = "n.a.neurons"
state = "voltage"

[[probe]]
name = "currents"
input = "n.a.neurons[::10]"
sample-every = 0.005

[[probe]]
name = "current"
input = "n.a.neurons"

[[probe]]
name = "last"
target = "n.a[2]"
synapse = 0.01

[[probe]]
name = "value"
target = "n.a"
synapse = 0.01
"#;
    let net = build(toml).unwrap();
    let mut sim = Simulator::new(&net, &Device::cpu()).unwrap();
    sim.run_steps(50, &Data::new()).unwrap();
    let read = |name: &str| sim.data(net.find_probe(name).unwrap()).unwrap();
    let columns = |name: &str, columns: &[usize]| read(name).select(ndarray::Axis(2), columns);
    assert_eq!(read("n.three"), columns("all", &[0, 1, 2]));
    assert!(read("all").iter().any(|x| *x > 0.0));
    assert_eq!(read("voltages"), columns("voltage", &[4, 29]));
    let currents = columns("current", &[0, 10, 20]);
    assert_eq!(read("currents"), currents.slice(ndarray::s![.., 4..;5, ..]));
    assert_eq!(read("last"), columns("value", &[2]));
    for probe in ["target = \"n.a.neurons[28:31]\"", "target = \"n.a[a]\"", "target = \"n.b[0]\""] {
        said.error(build(&format!("{toml}\n[[probe]]\nname = \"bad\"\n{probe}\n")));
    }
}

/// The initial values of a parameter, each once and in order.
fn values_of(toml: &str, parameter: &str) -> Vec<f32> {
    let sim = Simulator::new(&build(toml).unwrap(), &Device::cpu());
    let mut values = sim.unwrap().parameter(parameter).unwrap().into_raw_vec_and_offset().0;
    values.sort_by(f32::total_cmp);
    values.dedup();
    values
}

#[test]
fn a_choice_of_rows_is_one_of_the_rows_and_not_rows_and_their_weights() {
    let ensemble = |max_rates: &str, encoders: &str| {
        let toml = format!(
            "[[ensemble]]\nname = \"a\"\nn-neurons = 60\nneuron-type = \"rectified-linear\"\nintercepts = 0\n\
             max-rates = {max_rates}\nencoders = {encoders}\n[[probe]]\nname = \"p\"\ntarget = \"a\"\n"
        );
        values_of(&toml, "a/encoders")
    };
    let both = [-400.0, -100.0, 100.0, 400.0];
    assert_eq!(ensemble("{ choice = [[100.0], [400.0]] }", "{ choice = [[1.0], [-1.0]] }"), both);
    assert_eq!(ensemble("{ choice = { options = [[100], [400]] } }", "{ choice = [1, -1] }"), both);
    assert_eq!(ensemble("{ constant = 100 }", "{ constant = 1 }"), [100.0]);
    assert_eq!(ensemble("100", "{ choice = 1 }"), [100.0]);
    let neurons = |max_rates: &str| {
        let toml = format!(
            "[[neurons]]\nname = \"n\"\nn = 60\ntype = \"rectified-linear\"\nintercepts = {{ choice = [0.0] }}\n\
             max-rates = {max_rates}\n[[probe]]\nname = \"p\"\ntarget = \"n\"\n"
        );
        values_of(&toml, "n/gain")
    };
    for max_rates in
        ["{ choice = [[100.0], [400.0]] }", "{ choice = { options = [100, 400], weights = [1, 1] } }"]
    {
        assert_eq!(neurons(max_rates), [100.0, 400.0]);
    }
}

#[test]
fn init_and_transform_take_the_words_of_distributions() {
    let said = Messages::of("init and transform take the words of distributions");
    let toml = |transform: &str| {
        format!(
            "[[node]]\nname = \"x\"\nconstant = [1, 2]\n[[layer]]\nname = \"y\"\nsize-in = 2\n[[connection]]\n\
             pre = \"x\"\npost = \"y\"\ntransform = {transform}\n[[probe]]\nname = \"p\"\ntarget = \"y\"\n"
        )
    };
    let weights = |transform: &str| values_of(&toml(transform), "x->y/weights");
    assert_eq!(weights("{ dense = { constant = 0.5 } }"), [0.5]);
    assert_eq!(weights("{ dense = 0.5 }"), [0.5]);
    assert_eq!(weights("{ constant = 0.5 }"), [0.5]);
    assert_eq!(weights("{ dense = { choice = [[0.25]] } }"), [0.25]);
    assert_eq!(weights("[[1, 2], [3, 4]]"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(weights("{ dense = { values = [1, 2, 3, 4] } }"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(weights("{ vector = [2, 5] }"), [2.0, 5.0]);
    let drawn = weights("{ truncated-normal = { std = 0.1 } }");
    assert!(drawn.len() == 4 && drawn.iter().all(|x| x.abs() < 0.2), "{drawn:?}");
    let rows = weights("{ uniform-hypersphere = { surface = true } }");
    assert!((rows.iter().map(|x| x * x).sum::<f32>() - 2.0).abs() < 1e-6, "two rows of length 1: {rows:?}");
    let sparse = weights("{ sparse = { rows = [1, 0], cols = [0, 1], init = [[7, 8]] } }");
    assert_eq!(sparse, [7.0, 8.0]);
    said.error(build(&toml("{ dense = [[1, 2]] }")));
    said.error(build(&toml("[[1, 2, 3], [4, 5, 6]]")));
}
