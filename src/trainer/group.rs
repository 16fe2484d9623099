//! Selections and groups of parameters: their learning rates and penalties.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::{Network, ParameterDef};
use crate::optim::update::Segment;
use crate::trainer::{Optimiser, Training};

/// Selection of parameters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Select {
    /// One parameter, by its name.
    Parameter(String),
    /// All parameters whose name does not end in `/bias`.
    Weights,
    /// All parameters whose name ends in `/bias`.
    Biases,
    /// All parameters.
    All,
}

impl Select {
    /// Selects one parameter by its name.
    pub fn parameter(name: &str) -> Self {
        Self::Parameter(name.to_string())
    }

    /// True if the parameter is selected.
    fn takes(&self, parameter: &ParameterDef) -> bool {
        let bias = parameter.name.ends_with("/bias");
        match self {
            Select::Parameter(name) => parameter.name == *name,
            Select::Weights => !bias,
            Select::Biases => bias,
            Select::All => true,
        }
    }

    fn by_name(&self) -> bool {
        matches!(self, Select::Parameter(_))
    }

    /// Order of precedence; larger is narrower.
    fn narrowness(&self) -> u8 {
        match self {
            Select::Parameter(_) => 2,
            Select::Weights | Select::Biases => 1,
            Select::All => 0,
        }
    }

    fn check(&self, network: &Network) -> Result<()> {
        match self {
            Select::Parameter(name) => network.parameter_index(name).map(drop),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Select::Parameter(name) => write!(f, "'{name}'"),
            Select::Weights => f.write_str("weights"),
            Select::Biases => f.write_str("biases"),
            Select::All => f.write_str("all parameters"),
        }
    }
}

/// Group of parameters with a learning rate of their own, like a parameter group of PyTorch.
///
/// If several groups select a parameter, the narrowest one applies: by name before weights or biases, those before all parameters.
/// Of equally narrow groups, the last one applies.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Group {
    /// Parameters of the group. A parameter that the network froze is selected only by its name.
    pub parameters: Select,
    /// Factor on the learning rate, finite and at least 0; 0 freezes the parameters.
    pub rate: f32,
}

/// Learning rate factor and use of each parameter, and warnings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles {
    /// Factor on the learning rate; 0 if frozen.
    pub rates: Vec<f32>,
    /// True if a loss depends on it; without meaning if frozen.
    pub used: Vec<bool>,
    /// Warnings about settings without effect, or with less than they say, one sentence each.
    pub notes: Vec<String>,
}

impl Roles {
    /// Applies the groups.
    ///
    /// # Errors
    /// An unknown name, or a rate that is not finite and at least 0.
    pub fn new(network: &Network, groups: &[Group]) -> Result<Self> {
        for group in groups {
            group.parameters.check(network)?;
            if !(group.rate.is_finite() && group.rate >= 0.0) {
                let problem = format!("its rate is {}, but must be at least 0", group.rate);
                return Err(Error::invalid(format!("the group on {}", group.parameters), problem));
            }
        }
        let mut decides = vec![false; groups.len()];
        let mut rate = |parameter: &ParameterDef| {
            let takes = |group: &Group| {
                group.parameters.takes(parameter) && (parameter.trainable || group.parameters.by_name())
            };
            let taking = groups.iter().enumerate().filter(|(_, group)| takes(group));
            // `max_by_key` gives the last of equally narrow groups.
            let narrowest = taking.max_by_key(|(_, group)| group.parameters.narrowness());
            narrowest.map_or(f32::from(parameter.trainable), |(at, group)| {
                decides[at] = true;
                group.rate
            })
        };
        let rates: Vec<f32> = network.parameters().iter().map(&mut rate).collect();
        let idle = groups.iter().zip(&decides).filter(|(_, decides)| !**decides);
        let note = |group: &Group| {
            let why =
                "it takes no parameter that the network trains and no narrower or later group decides on";
            format!("the group on {} has no effect: {why}", group.parameters)
        };
        let notes = idle.map(|(group, _)| note(group)).collect();
        Ok(Self { used: vec![true; rates.len()], rates, notes })
    }

    /// True if the parameter is trained and a loss depends on it.
    fn moves(&self, at: usize) -> bool {
        self.rates[at] != 0.0 && self.used[at]
    }

    /// Sets rates and penalties of the segments. A penalty on weights, biases or all applies to trained parameters on which a loss
    /// depends; one by name applies to any trained parameter.
    ///
    /// # Errors
    /// An unknown name, or a strength out of range.
    pub fn apply(&mut self, segments: &mut [Segment], network: &Network, training: &Training) -> Result<()> {
        for (at, segment) in segments.iter_mut().enumerate() {
            (segment.l2, segment.l1, segment.norm, segment.decay) = (0.0, 0.0, 0.0, 0.0);
            segment.rate = self.rates[at];
        }
        let parameters = network.parameters();
        if let Optimiser::AdamW { decay, .. } = training.optimiser {
            let takes = |at: &usize| Select::Weights.takes(&parameters[*at]) && self.moves(*at);
            let taken: Vec<usize> = (0..parameters.len()).filter(takes).collect();
            taken.iter().for_each(|&at| segments[at].decay = decay);
            if taken.is_empty() && decay != 0.0 {
                self.note("the optimiser's decay has no effect: no weights are trained".into());
            }
        }
        for (select, penalty) in &training.penalties {
            select.check(network)?;
            penalty.check(&format!("the penalty on {select}"))?;
            let selected = (0..parameters.len()).filter(|&at| select.takes(&parameters[at]));
            let takes = |at: &usize| if select.by_name() { self.rates[*at] != 0.0 } else { self.moves(*at) };
            let (taken, left): (Vec<usize>, Vec<usize>) = selected.partition(takes);
            taken.iter().for_each(|&at| penalty.add_to(&mut segments[at]));
            if penalty.strength() == 0.0 {
                self.note(format!("the penalty on {select} has no effect: its strength is 0"));
            } else if taken.is_empty() {
                let why =
                    if left.is_empty() { "there are none".into() } else { self.why_not(network, &left) };
                self.note(format!("the penalty on {select} has no effect: {why}"));
            } else if !left.is_empty() {
                self.note(format!(
                    "the penalty on {select} leaves out parameters that are not trained: {}",
                    self.why_not(network, &left)
                ));
            }
        }
        Ok(())
    }

    /// Adds a warning, unless it is there.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Reasons why parameters are not trained, in words.
    pub fn why_not(&self, network: &Network, parameters: &[usize]) -> String {
        const MOST: usize = 4;
        let (unused, frozen): (Vec<usize>, Vec<usize>) =
            parameters.iter().partition(|&&at| self.rates[at] != 0.0);
        let list = |some: &[usize], state: [&str; 2]| {
            let quoted = |&at: &usize| format!("'{}'", network.parameters()[at].name);
            let names: Vec<String> = some.iter().take(MOST).map(quoted).collect();
            let more =
                if some.len() > MOST { format!(" and {} more", some.len() - MOST) } else { String::new() };
            format!("{}{more} {}", names.join(", "), state[usize::from(some.len() > 1)])
        };
        let frozen = (!frozen.is_empty()).then(|| list(&frozen, ["is frozen", "are frozen"]));
        let unused = (!unused.is_empty()).then(|| list(&unused, ["feeds no loss", "feed no loss"]));
        frozen.into_iter().chain(unused).collect::<Vec<_>>().join("; ")
    }
}
