//! Basal ganglia: action selection by the largest value.

use ndarray::Array2;
use serde::Deserialize;

use crate::error::Result;
use crate::network::library::{matrix, passthrough, scaled};
use crate::network::{
    Connection, Decoding, Distribution, Ensemble, Function, Network, Node, ObjectId, Synapse, Transform,
};
use crate::solve::Method;

/// Arrays that output about 0 for the largest of their inputs, and less for the others. This is the model of Gurney, Prescott
/// and Redgrave (2001) in spiking neurons (Stewart, Choo and Eliasmith 2010).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BasalGanglia {
    /// Number of actions.
    pub dimensions: usize,
    /// Neurons per ensemble; 100 by default.
    #[serde(default = "neurons")]
    pub n_neurons_per_ensemble: usize,
    /// Factor on the output; -3 by default.
    #[serde(default = "output_weight")]
    pub output_weight: f64,
    /// Bias of all inputs; 0 by default. The sums should lie between 0.5 and 1.5.
    #[serde(default)]
    pub input_bias: f64,
    /// Time constant in seconds of the subthalamic nucleus's synapses; 0.002 by default.
    #[serde(default = "ampa")]
    pub ampa_synapse: f64,
    /// Time constant in seconds of the striatum's and external pallidum's synapses; 0.008 by default.
    #[serde(default = "gaba")]
    pub gaba_synapse: f64,
}

fn neurons() -> usize {
    100
}

fn output_weight() -> f64 {
    -3.0
}

fn ampa() -> f64 {
    0.002
}

fn gaba() -> f64 {
    0.008
}

/// The objects of [`BasalGanglia`].
#[derive(Clone, Copy, Debug)]
pub struct BasalGangliaParts {
    /// `NAME.input`
    pub input: ObjectId,
    /// `NAME.output`
    pub output: ObjectId,
    /// Striatal D1 neurons.
    pub str_d1: ObjectId,
    /// Striatal D2 neurons.
    pub str_d2: ObjectId,
    /// Subthalamic nucleus.
    pub stn: ObjectId,
    /// Globus pallidus internus.
    pub gpi: ObjectId,
    /// Globus pallidus externus.
    pub gpe: ObjectId,
}

/// Constants of Gurney, Prescott and Redgrave: thresholds at which each population begins to respond (with slope 1), and the
/// weights between populations.
mod weights {
    pub const STRIATUM_FROM: f64 = 0.2;
    pub const STN_FROM: f64 = -0.25;
    pub const PALLIDUM_FROM: f64 = -0.2;
    /// Level of dopamine: increases the weights to D1 and decreases those to D2.
    pub const DOPAMINE: f64 = 0.2;
    pub const STN_TO_PALLIDUM: f64 = 0.9;
    pub const GPE_TO_GPI: f64 = 0.3;
}

impl BasalGanglia {
    /// Basal ganglia with Nengo's defaults.
    pub fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            n_neurons_per_ensemble: neurons(),
            output_weight: output_weight(),
            input_bias: 0.0,
            ampa_synapse: ampa(),
            gaba_synapse: gaba(),
        }
    }

    /// Adds the objects under a name. Decoders are not negative, by [`Method::NnlsL2nz`].
    ///
    /// # Errors
    /// A name that is taken, or invalid settings.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<BasalGangliaParts> {
        use weights::*;
        let Self { dimensions: d, n_neurons_per_ensemble: n, .. } = *self;
        net.within(name, |net| {
            net.config.ensemble.radius = Some(1.5);
            net.config.ensemble.encoders = Some(Distribution::choice(Array2::ones((1, 1))));
            net.config.solver = Method::NnlsL2nz { reg: 0.1 }.into();
            let array = |net: &mut Network, name, from| {
                let ensemble = Ensemble::array(n, d).intercepts(Distribution::Uniform(from, 1.0));
                net.ensemble(name, ensemble)
            };
            let str_d1 = array(net, "strD1", STRIATUM_FROM)?;
            let str_d2 = array(net, "strD2", STRIATUM_FROM)?;
            let stn = array(net, "stn", STN_FROM)?;
            let gpi = array(net, "gpi", PALLIDUM_FROM)?;
            let gpe = array(net, "gpe", PALLIDUM_FROM)?;
            let input = passthrough(net, "input", d)?;
            let output = passthrough(net, "output", d)?;
            if self.input_bias != 0.0 {
                let bias = net.node("bias_input", Node::Constant(vec![self.input_bias as f32; d]))?;
                let connection = net.config.connection.clone();
                net.connect(bias, input, connection)?;
            }
            scaled(net, input, str_d1, 1.0 + DOPAMINE)?;
            scaled(net, input, str_d2, 1.0 - DOPAMINE)?;
            scaled(net, input, stn, 1.0)?;
            let ramp = |net: &mut Network, array, name, from: f64| {
                let ramp = Function::new(move |x| vec![(x[0] - from).max(0.0)]);
                net.add_output(array, name, Decoding::of(ramp))
            };
            let str_d1_out = ramp(net, str_d1, "func_str", STRIATUM_FROM)?;
            let str_d2_out = ramp(net, str_d2, "func_str", STRIATUM_FROM)?;
            let stn_out = ramp(net, stn, "func_stn", STN_FROM)?;
            let gpe_out = ramp(net, gpe, "func_gpe", PALLIDUM_FROM)?;
            let gpi_out = ramp(net, gpi, "func_gpi", PALLIDUM_FROM)?;
            let gaba = |net: &mut Network, pre, post, weight: f64| {
                let connection = Connection::new().synapse(Synapse::Lowpass(self.gaba_synapse));
                net.connect(pre, post, connection.transform(Transform::Scalar(weight as f32)))
            };
            gaba(net, str_d1_out, gpi, -1.0)?;
            gaba(net, str_d2_out, gpe, -1.0)?;
            gaba(net, gpe_out, gpi, -GPE_TO_GPI)?;
            gaba(net, gpe_out, stn, -1.0)?;
            let all = Array2::from_elem((d, d), STN_TO_PALLIDUM);
            for post in [gpi, gpe] {
                let connection = Connection::new().synapse(Synapse::Lowpass(self.ampa_synapse));
                net.connect(stn_out, post, matrix(connection, &all))?;
            }
            scaled(net, gpi_out, output, self.output_weight)?;
            Ok(BasalGangliaParts { input, output, str_d1, str_d2, stn, gpi, gpe })
        })
    }
}
