//! Networks in files, as text, and their errors.
#![allow(dead_code)]

use nengo_wgpu::toml::NetworkSpec;

use nengo_wgpu::network::Network;
use nengo_wgpu::{Device, Error, Simulator};

pub fn parse(toml: &str) -> Result<NetworkSpec, Error> {
    NetworkSpec::parse(toml, "dir/net.toml")
}

pub fn build(toml: &str) -> Result<Network, Error> {
    parse(toml)?.build()
}

/// The error message of a network.
pub fn problem(toml: &str) -> String {
    match build(toml).and_then(|net| Simulator::new(&net, &Device::cpu()).map(drop)) {
        Ok(()) => panic!("nothing is wrong with {toml}"),
        Err(error) => error.to_string(),
    }
}

/// Line and column of a TOML error.
pub fn place(toml: &str) -> (usize, usize, String) {
    match parse(toml) {
        Err(Error::Toml { line, column, message, .. }) => (line, column, message),
        other => panic!("{other:?}"),
    }
}

pub const ENSEMBLES: &str = r#"
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
n-neurons = 200
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
