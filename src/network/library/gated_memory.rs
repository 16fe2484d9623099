//! A memory with an input gate.

use serde::Deserialize;

use crate::error::Result;
use crate::network::{Connection, Ensemble, Init, Network, ObjectId, Transform};

/// A memory of a vector. While its gate is 0 it approaches its input; while the gate is above 0 it keeps its value.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct InputGatedMemory {
    /// Neurons per dimension.
    pub n_neurons: usize,
    /// Dimensions of the vector.
    pub dimensions: usize,
    /// Weight of the memory's recurrent connection; 1 by default.
    #[serde(default = "one")]
    pub feedback: f64,
    /// Factor on the difference between input and memory; 1 by default.
    #[serde(default = "one")]
    pub difference_gain: f64,
    /// Time constant of the recurrent synapse in seconds; 0.1 by default.
    #[serde(default = "tenth")]
    pub recurrent_synapse: f64,
    /// Time constant of the difference's synapse in seconds; the recurrent one by default.
    #[serde(default)]
    pub difference_synapse: Option<f64>,
}

fn one() -> f64 {
    1.0
}

fn tenth() -> f64 {
    0.1
}

/// The objects of an [`InputGatedMemory`].
#[derive(Clone, Copy, Debug)]
pub struct InputGatedMemoryParts {
    /// The array `NAME.diff`, which receives the input and represents the difference to the memory.
    pub input: ObjectId,
    /// The array `NAME.mem`, the memory and output.
    pub output: ObjectId,
    /// `NAME.gate`
    pub gate: ObjectId,
    /// `NAME.reset`; a value above 0 clears the memory.
    pub reset: ObjectId,
}

impl InputGatedMemory {
    /// A memory with Nengo's defaults.
    pub fn new(n_neurons: usize, dimensions: usize) -> Self {
        Self {
            n_neurons,
            dimensions,
            feedback: one(),
            difference_gain: one(),
            recurrent_synapse: tenth(),
            difference_synapse: None,
        }
    }

    /// Adds the objects under a name.
    ///
    /// # Errors
    /// A name that is taken, or invalid settings.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<InputGatedMemoryParts> {
        let Self { n_neurons: n, dimensions: d, feedback, difference_gain, recurrent_synapse, .. } = *self;
        let difference_synapse = self.difference_synapse.unwrap_or(recurrent_synapse);
        let scale = |x: f64| Transform::Scalar(x as f32);
        net.within(name, |net| {
            let mem = net.ensemble("mem", Ensemble::array(n, d))?;
            let diff = net.ensemble("diff", Ensemble::array(n, d))?;
            let back = Connection::new().synapse(recurrent_synapse).transform(scale(feedback));
            net.connect(mem, mem, back)?;
            let minus = net.config.connection.clone().transform(scale(-1.0));
            net.connect(mem, diff, minus)?;
            let drive = Connection::new().synapse(difference_synapse).transform(scale(difference_gain));
            net.connect(diff, mem, drive)?;
            // A current far below the threshold silences all neurons of an array.
            let silence = |x| Connection::new().transform(Transform::Dense(Init::Constant(x)));
            let gate = crate::network::library::passthrough(net, "gate", 1)?;
            net.connect(gate, net.neurons_of(diff)?, silence(-10.0))?;
            let reset = crate::network::library::passthrough(net, "reset", 1)?;
            net.connect(reset, net.neurons_of(mem)?, silence(-3.0))?;
            Ok(InputGatedMemoryParts { input: diff, output: mem, gate, reset })
        })
    }
}
