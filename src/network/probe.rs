//! Probes, which record signals of a network.

use crate::error::{Error, Result};
use crate::network::{ConnectionId, Network, ObjectId, ProbeId, ProbeSettings, Slice, Synapse};

/// Signal that a probe records.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// The output of an object at each step, optionally filtered.
    Output(ObjectId, Option<Synapse>),
    /// The summed input of an object at each step; of neurons, their current `gain * input + bias`.
    Input(ObjectId),
    /// A state of an object's neurons after each step, by its name.
    State(ObjectId, String),
    /// A signal of a connection's learning rule at each step, by its name (see [`crate::network::LearningRule`]). A matrix is
    /// recorded as one row, in row-major order.
    Rule(ConnectionId, String),
    /// A parameter, by its name.
    Parameter(String),
    /// The L2 norm of a parameter, by its name.
    Norm(String),
}

/// A probe of a network.
#[derive(Clone)]
pub(crate) struct ProbeSpec {
    pub name: String,
    pub target: Target,
    /// Seconds between recorded rows; `None` records each step.
    pub every: Option<f64>,
    /// Recorded dimensions.
    pub slice: Slice,
}

/// Most steps between recorded rows: the largest count that a 32-bit float represents exactly.
const MAX_BETWEEN: f64 = 16_777_216.0;

impl ProbeSpec {
    /// Number of steps of `dt` seconds between recorded rows.
    pub fn steps_between(&self, dt: f64) -> Result<usize> {
        let Some(every) = self.every else { return Ok(1) };
        let steps = (every / dt).round();
        let what = || format!("probe '{}'", self.name);
        if steps > MAX_BETWEEN {
            let problem =
                format!("it samples every {every} s, which is {steps} steps; at most {MAX_BETWEEN}");
            return Err(Error::invalid(what(), problem));
        }
        if steps < 1.0 || (every / dt - steps).abs() > 1e-6 {
            let problem = format!(
                "it samples every {every} s, but that must be a multiple of the time step of {dt} s; the nearest is {} s",
                steps.max(1.0) * dt
            );
            return Err(Error::invalid(what(), problem));
        }
        Ok(steps as usize)
    }
}

impl Target {
    /// A state of an object's neurons after each step, by its name.
    ///
    /// ```
    /// use nengo_wgpu::network::{Network, Neurons, NeuronType, Target};
    ///
    /// # fn main() -> nengo_wgpu::Result<()> {
    /// let mut net = Network::new(0);
    /// let a = net.neurons("a", Neurons::new(10, NeuronType::lif()))?;
    /// net.add_probe("v", Target::state(a, "voltage"))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn state(object: ObjectId, name: &str) -> Self {
        Self::State(object, name.into())
    }

    /// A signal of a connection's learning rule at each step, by its name.
    pub fn rule(connection: ConnectionId, name: &str) -> Self {
        Self::Rule(connection, name.into())
    }

    /// A parameter, by its name.
    pub fn parameter(name: &str) -> Self {
        Self::Parameter(name.into())
    }

    /// The L2 norm of a parameter, by its name.
    pub fn norm(name: &str) -> Self {
        Self::Norm(name.into())
    }

    /// True for a parameter, which has no steps.
    pub(crate) fn is_parameter(&self) -> bool {
        matches!(self, Target::Parameter(_) | Target::Norm(_))
    }

    /// The object whose output, input or state is read.
    fn object(&self) -> Option<ObjectId> {
        match self {
            Target::Output(object, _) | Target::State(object, _) | Target::Input(object) => Some(*object),
            Target::Rule(..) | Target::Parameter(_) | Target::Norm(_) => None,
        }
    }
}

impl Network {
    /// Adds a probe on an object's output, with the filter and sampling interval of [`crate::network::Config::probe`].
    ///
    /// # Errors
    /// As [`Network::add_probe`] and [`Network::probe_every`].
    pub fn probe(&mut self, name: &str, object: ObjectId) -> Result<ProbeId> {
        let ProbeSettings { synapse, sample_every } = self.config.probe.clone();
        let target = Target::Output(object, synapse);
        match sample_every {
            Some(seconds) => self.probe_every(name, target, seconds),
            None => self.add_probe(name, target),
        }
    }

    /// Adds a probe.
    ///
    /// # Errors
    /// A name that is taken, a parameter that does not exist, or an invalid synapse.
    pub fn add_probe(&mut self, name: &str, target: Target) -> Result<ProbeId> {
        self.insert_probe(name, target, None)
    }

    /// Adds a probe that records a row every `seconds`, a multiple of the time step.
    ///
    /// With `k` steps between rows, it records after steps k, 2k, … since the start. Losses and metrics compare these rows to
    /// targets with one row each; penalties on activities and custom objectives see every step.
    ///
    /// # Errors
    /// As [`Network::add_probe`]; an interval that is not above 0; a parameter, which has no rows over time. A simulator
    /// rejects intervals that are not a multiple of its time step.
    pub fn probe_every(&mut self, name: &str, target: Target, seconds: f64) -> Result<ProbeId> {
        let invalid = |problem: String| Err(Error::invalid(format!("probe '{name}'"), problem));
        if !(seconds.is_finite() && seconds > 0.0) {
            return invalid(format!("it samples every {seconds} s, but that must be above 0"));
        }
        if target.is_parameter() {
            return invalid("it reads a parameter, which is recorded once at the end of a run: leave out the sampling interval".into());
        }
        self.insert_probe(name, target, Some(seconds))
    }

    /// Restricts a probe to these dimensions of its target, such as neurons `0..3` of an ensemble.
    ///
    /// # Errors
    /// An id of another network, a slice beyond the object, or a probe of a parameter or a learning rule.
    pub fn slice_probe(&mut self, probe: ProbeId, slice: impl Into<Slice>) -> Result<()> {
        let slice = slice.into();
        let other = || Error::invalid("a probe's id", "it is of another network");
        let spec = self.probes.get(probe.0).ok_or_else(other)?;
        let invalid = |problem: String| Error::invalid(format!("probe '{}'", spec.name), problem);
        let no_object = || {
            invalid(
                "it reads no object: a slice selects dimensions of an object's output, input or state".into(),
            )
        };
        let object = self.name(spec.target.object().ok_or_else(no_object)?);
        let size = self.target_size(&spec.target).ok_or_else(no_object)?;
        slice.indices(size).map_err(|problem| invalid(format!("it reads '{object}[{slice}]': {problem}")))?;
        self.probes[probe.0].slice = slice;
        Ok(())
    }

    /// Number of dimensions of an object's target.
    pub(crate) fn target_size(&self, target: &Target) -> Option<usize> {
        match target {
            Target::Output(object, _) | Target::State(object, _) => self.size_out(*object).ok(),
            Target::Input(object) => self.object(*object).ok().map(|object| object.size_in),
            Target::Rule(..) | Target::Parameter(_) | Target::Norm(_) => None,
        }
    }

    /// Number of dimensions that a probe of an object records; `None` for probes of parameters and learning rules.
    pub fn probe_size(&self, probe: ProbeId) -> Option<usize> {
        let spec = self.probes.get(probe.0)?;
        Some(spec.slice.indices(self.target_size(&spec.target)?).ok()?.len())
    }

    fn insert_probe(&mut self, name: &str, target: Target, every: Option<f64>) -> Result<ProbeId> {
        let name = &self.full(name);
        if self.probes.place(name).is_some() {
            return Err(Error::DuplicateName { name: name.into() });
        }
        // Probes of an ensemble read its decoded output, or a state of its neurons.
        let target = match target {
            Target::Output(of, synapse) if self.encoding(of).is_ok() => {
                Target::Output(self.probed_output(of)?, synapse)
            }
            Target::State(of, state) => {
                Target::State(self.encoding(of).map_or(of, |(_, neurons)| neurons), state)
            }
            other => other,
        };
        match &target {
            Target::Output(object, synapse) => {
                self.object(*object)?;
                if let Some(synapse) = synapse {
                    synapse.check(&format!("probe '{name}'"))?;
                }
            }
            Target::Input(object) => {
                let object = self.object(*object)?;
                if object.size_in == 0 {
                    let problem = format!("it probes the input of '{}', which has none", object.name);
                    return Err(Error::invalid(format!("probe '{name}'"), problem));
                }
            }
            Target::State(object, state) => {
                let object = self.object(*object)?;
                let none = || {
                    let problem = format!("it probes a state of '{}', which has no neurons", object.name);
                    Error::invalid(format!("probe '{name}'"), problem)
                };
                object.population.as_ref().ok_or_else(none)?.state(&object.name, state)?;
            }
            Target::Rule(connection, signal) => {
                let known = self.rule(*connection)?.spec.signals();
                if !known.contains(&signal.as_str()) {
                    let kind = format!("signal of the learning rule of '{}'", self.link(*connection)?.name);
                    return Err(Error::unknown(kind, signal, known.iter().copied()));
                }
            }
            Target::Parameter(parameter) | Target::Norm(parameter) => {
                self.parameter_index(parameter)?;
            }
        }
        self.probes.push(ProbeSpec { name: name.into(), target, every, slice: Slice::All });
        Ok(ProbeId(self.probes.len() - 1))
    }
}
