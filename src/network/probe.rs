//! What is recorded.

use crate::error::{Error, Result};
use crate::network::{ConnectionId, Network, ObjectId, ProbeId, ProbeSettings, Slice, Synapse};

/// What a probe reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The output of an object at each step, through a filter if there is one.
    Output(ObjectId, Option<Synapse>),
    /// The sum of what comes into an object at each step; of neurons their current `gain * input + bias`.
    Input(ObjectId),
    /// A state of an object's neurons after each step, by its name.
    State(ObjectId, String),
    /// A signal of a connection's learning rule at each step, by its name (see [`crate::network::LearningRule`]); a matrix as one row,
    /// row by row.
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
    /// Seconds from one row to the next, if not every step is recorded.
    pub every: Option<f64>,
    /// The dimensions that are recorded.
    pub slice: Slice,
}

/// Most steps from one row to the next: up to here a 32-bit float counts exactly.
const MOST_BETWEEN: f64 = 16_777_216.0;

impl ProbeSpec {
    /// Steps of `dt` seconds from one row to the next.
    pub fn steps_between(&self, dt: f64) -> Result<usize> {
        let Some(every) = self.every else { return Ok(1) };
        let steps = (every / dt).round();
        let what = || format!("probe '{}'", self.name);
        if steps > MOST_BETWEEN {
            let problem =
                format!("it samples every {every} s, which is {steps} steps; at most {MOST_BETWEEN}");
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
    /// Whether it is of a parameter, and so has no steps.
    pub(crate) fn is_parameter(&self) -> bool {
        matches!(self, Target::Parameter(_) | Target::Norm(_))
    }

    /// The object that it is of.
    fn object(&self) -> Option<ObjectId> {
        match self {
            Target::Output(object, _) | Target::State(object, _) | Target::Input(object) => Some(*object),
            Target::Rule(..) | Target::Parameter(_) | Target::Norm(_) => None,
        }
    }
}

impl Network {
    /// Adds a probe on an object's output, with the filter and the time between rows that [`crate::network::Config::probe`] says.
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
    /// A name that is taken, a parameter that does not exist, or a synapse that makes no sense.
    pub fn add_probe(&mut self, name: &str, target: Target) -> Result<ProbeId> {
        self.insert_probe(name, target, None)
    }

    /// Adds a probe that records a row every `seconds`, a multiple of the time step: with `k` steps from one row to the
    /// next those after steps k, 2k, … since the start. Losses and metrics compare these rows, with targets that have a row for
    /// each; penalties on activities and custom objectives see every step.
    ///
    /// # Errors
    /// As [`Network::add_probe`], a time that is not above 0, or a parameter, which has no rows in time. Whether it is a
    /// multiple of the time step is seen when a simulator is made.
    pub fn probe_every(&mut self, name: &str, target: Target, seconds: f64) -> Result<ProbeId> {
        let invalid = |problem: String| Err(Error::invalid(format!("probe '{name}'"), problem));
        if !(seconds.is_finite() && seconds > 0.0) {
            return invalid(format!("it samples every {seconds} s, but that must be above 0"));
        }
        if target.is_parameter() {
            return invalid("it reads a parameter, which gives one value at the end of a run: leave out how often it samples".into());
        }
        self.insert_probe(name, target, Some(seconds))
    }

    /// Lets a probe record these dimensions alone of what it reads, as `0..3` of the neurons of an ensemble.
    ///
    /// # Errors
    /// An id of another network, dimensions that there are not, or a probe of a parameter or a learning rule.
    pub fn slice_probe(&mut self, probe: ProbeId, slice: impl Into<Slice>) -> Result<()> {
        let slice = slice.into();
        let other = || Error::invalid("a probe's id", "it is of another network");
        let spec = self.probes.get(probe.0).ok_or_else(other)?;
        let invalid = |problem: String| Error::invalid(format!("probe '{}'", spec.name), problem);
        let no_object = || invalid("it reads no object: a slice is for what one gives, gets or holds".into());
        let of = self.name(spec.target.object().ok_or_else(no_object)?);
        let size = self.target_size(&spec.target).ok_or_else(no_object)?;
        slice.indices(size).map_err(|problem| invalid(format!("it reads '{of}[{slice}]': {problem}")))?;
        self.probes[probe.0].slice = slice;
        Ok(())
    }

    /// Dimensions of what a probe of an object reads.
    pub(crate) fn target_size(&self, target: &Target) -> Option<usize> {
        match target {
            Target::Output(object, _) | Target::State(object, _) => self.size_out(*object).ok(),
            Target::Input(object) => self.object(*object).ok().map(|object| object.size_in),
            Target::Rule(..) | Target::Parameter(_) | Target::Norm(_) => None,
        }
    }

    /// How many dimensions a probe of an object records; `None` for one of a parameter or a learning rule.
    pub fn probe_size(&self, probe: ProbeId) -> Option<usize> {
        let spec = self.probes.get(probe.0)?;
        Some(spec.slice.indices(self.target_size(&spec.target)?).ok()?.len())
    }

    fn insert_probe(&mut self, name: &str, target: Target, every: Option<f64>) -> Result<ProbeId> {
        let name = &self.full(name);
        if self.probes.place(name).is_some() {
            return Err(Error::DuplicateName { name: name.into() });
        }
        // What is read of an ensemble is its decoded output, or a state of its neurons.
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
                    let problem = format!("it probes the input of '{}', which takes none", object.name);
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
