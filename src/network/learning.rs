//! Learning rules, which change a connection's weights while a network runs.

use crate::error::{Error, Result};
use crate::network::{
    Columns, ConnectionId, Init, Kind, Link, Network, Node, Object, ObjectId, Product, Slice, Synapse,
    seed_of,
};

/// Rule that changes a connection's weights, decoders or encoders at each step of a run.
///
/// In the formulas `dt` is the length of a step in seconds; rates and spikes are in Hz. A step's change acts from the next
/// step on. The rule's own filters do not delay: they use the activities of the same step.
///
/// Each example has its own weights. They start at the parameter's values (`CONNECTION/weights`) and keep changing across
/// windows and runs until a reset. They are not trained offline, and no gradient flows through them.
///
/// Probes ([`crate::network::Target::Rule`]) read the signals named at each variant, and also `delta`, the change of a step,
/// and `weights`, as used by the step.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LearningRule {
    /// Prescribed error sensitivity (MacNeil & Eliasmith 2011): `W[i, j] -= learning_rate dt / n e[i] a[j]`.
    ///
    /// `n` is the number of columns of `W`. The probe `activities` reads the filtered activities `a`. The probe `error` reads
    /// the error `e`: the actual minus the desired value, which connections bring to [`Network::learning_rule_of`], or zero
    /// without them.
    ///
    /// For a connection from an ensemble, or from neurons or a layer through a dense transform. If the post object is neurons,
    /// the error has the dimensions of the ensemble or node that encodes for them, and passes through its encoders and the
    /// neurons' gains.
    Pes {
        /// Learning rate, at least 0.
        learning_rate: f64,
        /// Filter of the activities.
        pre_synapse: Option<Synapse>,
    },
    /// Recursive least squares with the error of [`LearningRule::Pes`]: `P -= P a (P a)ᵀ s` with `s = 1 / (1 + aᵀ P a)`,
    /// and `W[i, j] -= s e[i] (P a)[j]` with the `P` before the step.
    ///
    /// `P` has n² elements and starts from `learning_rate dt / n` times the identity. Probes: `error`, `pre_filtered`, and
    /// `inv_gamma`, which is `P` as used by the step, row by row.
    ///
    /// For a connection from an ensemble, or from neurons or a layer through a dense transform, but not to neurons.
    Rls {
        /// Learning rate, at least 0.
        learning_rate: f64,
        /// Filter of the activities.
        pre_synapse: Option<Synapse>,
    },
    /// Bienenstock, Cooper & Munro (1982): `W[i, j] += learning_rate dt b[i] (b[i] - theta[i]) a[j]`.
    ///
    /// `a` (probe `pre_filtered`) and `b` (probe `post_filtered`) are the filtered activities of the pre and post neurons.
    /// `theta` (probe `theta`) is the post activity through another filter.
    ///
    /// For a connection from neurons to neurons through a dense transform, or from ensemble to ensemble with full weights.
    Bcm {
        /// Learning rate, at least 0.
        learning_rate: f64,
        /// Filter of the pre activities.
        pre_synapse: Option<Synapse>,
        /// Filter of the post activities.
        post_synapse: Option<Synapse>,
        /// Filter that turns the post activities into the threshold.
        theta_synapse: Option<Synapse>,
    },
    /// Oja (1982): `W[i, j] += learning_rate dt (b[i] a[j] - beta b[i]² W[i, j])`, with `a` and `b` as in
    /// [`LearningRule::Bcm`].
    Oja {
        /// Learning rate, at least 0.
        learning_rate: f64,
        /// Filter of the pre activities.
        pre_synapse: Option<Synapse>,
        /// Filter of the post activities.
        post_synapse: Option<Synapse>,
        /// Rate of forgetting, at least 0.
        beta: f64,
    },
    /// Vector Oja (Voelker, Crawford & Eliasmith 2014), which moves the encoders of active neurons towards the input. For
    /// neuron `i` with encoder `E[i]`: `E[i] += learning_rate dt l b[i] (scale[i] x - E[i])`.
    ///
    /// `b[i]` is its filtered activity (probe `post_filtered`), and `x` the whole input of the node that encodes for the
    /// neurons. `l` (probe `learning_signal`) is 1 plus what connections bring to [`Network::learning_rule_of`]; bringing -1
    /// stops learning.
    ///
    /// For a connection to an ensemble, or to a passthrough node with one dense connection to neurons. The weights of that
    /// connection are the encoders that change; the probe `encoders`, or Nengo's name `scaled_encoders`, replaces `weights`.
    Voja {
        /// Learning rate, at least 0.
        learning_rate: f64,
        /// Filter of the post activities.
        post_synapse: Option<Synapse>,
        /// Length of each encoder for an input of 1: gain / radius where the encoders include both, like Nengo's scaled
        /// encoders. For an ensemble, a factor on gain / radius.
        scale: Init,
    },
}

/// A lowpass with a time constant in milliseconds.
fn milliseconds(tau: f64) -> Option<Synapse> {
    Some(Synapse::Lowpass(tau / 1000.0))
}

impl LearningRule {
    /// PES with a learning rate of 1e-4 and a filter of 5 ms.
    pub fn pes() -> Self {
        Self::Pes { learning_rate: 1e-4, pre_synapse: milliseconds(5.0) }
    }

    /// RLS with a learning rate of 1e-3 and a filter of 5 ms.
    pub fn rls() -> Self {
        Self::Rls { learning_rate: 1e-3, pre_synapse: milliseconds(5.0) }
    }

    /// BCM with a learning rate of 1e-9, filters of 5 ms, and of 1 s for the threshold.
    pub fn bcm() -> Self {
        let [pre_synapse, post_synapse, theta_synapse] = [5.0, 5.0, 1000.0].map(milliseconds);
        Self::Bcm { learning_rate: 1e-9, pre_synapse, post_synapse, theta_synapse }
    }

    /// Oja's rule with a learning rate of 1e-6, filters of 5 ms and a beta of 1.
    pub fn oja() -> Self {
        let [pre_synapse, post_synapse] = [5.0, 5.0].map(milliseconds);
        Self::Oja { learning_rate: 1e-6, pre_synapse, post_synapse, beta: 1.0 }
    }

    /// Voja with a learning rate of 0.01, a filter of 5 ms and a scale of 1.
    pub fn voja() -> Self {
        Self::Voja { learning_rate: 0.01, post_synapse: milliseconds(5.0), scale: Init::Constant(1.0) }
    }

    /// Sets the learning rate.
    pub fn rate(mut self, rate: f64) -> Self {
        use LearningRule::*;
        let (Pes { learning_rate, .. }
        | Rls { learning_rate, .. }
        | Bcm { learning_rate, .. }
        | Oja { learning_rate, .. }
        | Voja { learning_rate, .. }) = &mut self;
        *learning_rate = rate;
        self
    }

    /// Name of the rule, such as `"PES"`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pes { .. } => "PES",
            Self::Rls { .. } => "RLS",
            Self::Bcm { .. } => "BCM",
            Self::Oja { .. } => "Oja",
            Self::Voja { .. } => "Voja",
        }
    }

    /// Names of the signals that probes can read.
    pub fn signals(&self) -> &'static [&'static str] {
        match self {
            Self::Pes { .. } => &["error", "activities", "delta", "weights"],
            Self::Rls { .. } => &["error", "pre_filtered", "inv_gamma", "delta", "weights"],
            Self::Bcm { .. } => &["pre_filtered", "post_filtered", "theta", "delta", "weights"],
            Self::Oja { .. } => &["pre_filtered", "post_filtered", "delta", "weights"],
            Self::Voja { .. } => {
                &["learning_signal", "post_filtered", "delta", "encoders", "scaled_encoders"]
            }
        }
    }

    /// Rejects settings out of range.
    fn check(&self, what: &str) -> Result<()> {
        let synapse = |s: &Option<Synapse>| s.as_ref().map_or(Ok(()), |s| s.check(what));
        let (rate, synapses) = match self {
            Self::Pes { learning_rate, pre_synapse } | Self::Rls { learning_rate, pre_synapse } => {
                (learning_rate, vec![pre_synapse])
            }
            Self::Bcm { learning_rate, pre_synapse, post_synapse, theta_synapse } => {
                (learning_rate, vec![pre_synapse, post_synapse, theta_synapse])
            }
            Self::Oja { learning_rate, pre_synapse, post_synapse, .. } => {
                (learning_rate, vec![pre_synapse, post_synapse])
            }
            Self::Voja { learning_rate, post_synapse, .. } => (learning_rate, vec![post_synapse]),
        };
        let beta = if let Self::Oja { beta, .. } = self { *beta } else { 0.0 };
        for (name, x) in [("learning-rate", *rate), ("beta", beta)] {
            if !(x.is_finite() && x >= 0.0) {
                return Err(Error::invalid(what, format!("its {name} is {x}, but must be at least 0")));
            }
        }
        synapses.into_iter().try_for_each(synapse)
    }
}

/// A learning rule attached to a connection.
#[derive(Clone)]
pub(crate) struct Rule {
    pub spec: LearningRule,
    /// Object that receives the error or the learning signal.
    pub input: Option<ObjectId>,
    /// Matrix that the rule changes.
    pub changes: Weights,
    /// Encoders of the post neurons.
    pub encoders: Option<Weights>,
}

/// A matrix that a rule may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Weights {
    /// Weights of the connection with this index.
    Of(usize),
    /// The encoders of an ensemble.
    Encoders(ObjectId),
}

/// Description of such a matrix.
pub(crate) struct Place<'a> {
    /// Name of the object or connection that owns it.
    pub owner: &'a str,
    /// Name of its parameter.
    pub parameter: String,
    pub rows: usize,
    pub cols: usize,
    /// Objects whose signal it multiplies, and that it leads to.
    pub ends: [ObjectId; 2],
}

impl Network {
    /// Resolves the learning rule of a connection before it is added: the rule, and the size of its input.
    pub(super) fn attach(&self, link: &Link) -> Result<Option<(Rule, usize)>> {
        let Some(rule) = link.spec.learning_rule.clone() else { return Ok(None) };
        let name = &link.name;
        let what = format!("the learning rule of connection '{name}'");
        rule.check(&what)?;
        let (pre, post) = (self.object(link.pre)?, self.object(link.post)?);
        let kind = rule.name();
        let refuse = |problem: String| Err(Error::invalid(&what, problem));
        let own = self.links.len();
        if let LearningRule::Voja { scale, .. } = &rule {
            let encoders = self.attach_voja(link, &what, scale)?;
            let rule = Rule { spec: rule, input: None, changes: encoders, encoders: Some(encoders) };
            return Ok(Some((rule, 1)));
        }
        if matches!(pre.kind, Kind::Decoded(..)) {
            return refuse(format!(
                "{kind} needs the activities that weights multiply, but '{}' is decoded already; connect from one \
                 ensemble, or from neurons",
                pre.name
            ));
        }
        if link.product != Product::Dense {
            return refuse(format!("{kind} changes weights, so the connection needs a dense transform"));
        }
        let active = |k: &Kind| {
            matches!(k, Kind::Neurons | Kind::Layer(_) | Kind::Ensemble(..) | Kind::EnsembleNeurons(_))
        };
        if !active(&pre.kind) {
            return refuse(format!(
                "{kind} needs activities, but '{}' is neither an ensemble, neurons nor a layer",
                pre.name
            ));
        }
        let to_neurons = matches!(post.kind, Kind::Neurons | Kind::EnsembleNeurons(_));
        let (mut encoders, mut size) = (None, 0);
        match &rule {
            LearningRule::Pes { .. } if to_neurons => {
                let found = match post.kind {
                    Kind::EnsembleNeurons(ensemble) if self.encoding(ensemble)?.0.groups > 1 => {
                        return refuse(format!(
                            "'{}' are the neurons of an array, whose encoders are not one matrix; connect to a single ensemble",
                            post.name
                        ));
                    }
                    Kind::EnsembleNeurons(ensemble) => Weights::Encoders(ensemble),
                    _ => Weights::Of(self.encoders(&what, post, false)?.0),
                };
                let all = self.place_of(found)?.cols;
                // Full weights reach the ensemble's dimensions selected by the connection.
                let reached = if link.onto_current { &link.spec.post } else { &Slice::All };
                (encoders, size) = (Some(found), Columns::new(reached, &post.name, all)?.1);
            }
            LearningRule::Rls { .. } if to_neurons => {
                return refuse(format!(
                    "RLS changes decoders, but '{}' is neurons; use PES, or connect to a node",
                    post.name
                ));
            }
            LearningRule::Pes { .. } | LearningRule::Rls { .. } => size = link.put.1,
            _ if to_neurons && (pre.population.is_some() || link.onto_current) => {}
            _ => {
                let other = if to_neurons { pre } else { post };
                return refuse(format!(
                    "{kind} is for connections from neurons to neurons, which '{}' is not",
                    other.name
                ));
            }
        }
        Ok(Some((Rule { spec: rule, input: None, changes: Weights::Of(own), encoders }, size)))
    }

    /// The encoders that a Voja rule changes.
    fn attach_voja(&self, link: &Link, what: &str, scale: &Init) -> Result<Weights> {
        let (name, post) = (&link.name, self.object(link.post)?);
        let (encoders, n) = match &post.kind {
            Kind::Ensemble(encoding, neurons) if encoding.groups == 1 => {
                (Weights::Encoders(ObjectId(neurons.0 - 1)), encoding.n)
            }
            Kind::Node(Node::Passthrough(_)) => {
                let (encoders, n) = self.encoders(what, post, true)?;
                (Weights::Of(encoders), n)
            }
            _ => {
                let problem = format!(
                    "Voja changes encoders, but '{}' is neither an ensemble nor a passthrough node that encodes \
                     for neurons",
                    post.name
                );
                return Err(Error::invalid(what, problem));
            }
        };
        scale.check(&format!("{name}/scale"), 1, n)?;
        if self.links.iter().any(|l| l.rule.as_ref().is_some_and(|r| r.changes == encoders)) {
            let encoders = self.place_of(encoders)?.owner;
            let problem =
                format!("another rule changes the weights of '{encoders}' already; leave one of them out");
            return Err(Error::invalid(what, problem));
        }
        Ok(encoders)
    }

    /// Attaches the rule, if any, to the last connection and adds its input object. Freezes the weights that it changes.
    pub(super) fn take_rule(&mut self, rule: Option<(Rule, usize)>) -> Result<ConnectionId> {
        let connection = ConnectionId(self.links.len() - 1);
        let Some((rule, size)) = rule else { return Ok(connection) };
        let name = self.links[connection.0].name.clone();
        if let LearningRule::Voja { scale, .. } = &rule.spec {
            let neurons = self.place_of(rule.changes)?.rows;
            let scale = match rule.changes {
                // In an ensemble, encoders are scaled by gain / radius.
                Weights::Encoders(ensemble) => {
                    let encoding = self.encoding(ensemble)?.0;
                    let own = scale.values(1, neurons, seed_of(self.seed, &format!("{name}/scale")));
                    let longer = |(x, gain): (f32, &f64)| x * (gain / encoding.radius) as f32;
                    Init::Values(own.into_iter().zip(&encoding.gain).map(longer).collect())
                }
                Weights::Of(_) => scale.clone(),
            };
            self.define(&format!("{name}/scale"), 1, neurons, scale, Some(false))?;
        }
        let changed = self.parameter_index(&self.place_of(rule.changes)?.parameter)?;
        self.parameters[changed].trainable = false;
        let input = (size > 0).then(|| {
            let (name, kind) = (format!("{name}/learning-rule"), Kind::Node(Node::Passthrough(size)));
            self.objects.push(Object { name, kind, size_in: size, size_out: size, population: None });
            ObjectId(self.objects.len() - 1)
        });
        self.links[connection.0].rule = Some(Rule { input, ..rule });
        Ok(connection)
    }

    /// Describes a matrix that a rule may change.
    pub(crate) fn place_of(&self, weights: Weights) -> Result<Place<'_>> {
        Ok(match weights {
            Weights::Of(i) => {
                let link = &self.links[i];
                Place {
                    owner: &link.name,
                    parameter: format!("{}/weights", link.name),
                    rows: link.put.1,
                    cols: link.take.1,
                    ends: [link.pre, link.post],
                }
            }
            Weights::Encoders(ensemble) => {
                let (encoding, neurons) = self.encoding(ensemble)?;
                let owner = self.name(ensemble);
                Place {
                    owner,
                    parameter: format!("{owner}/encoders"),
                    rows: encoding.n,
                    cols: encoding.dimensions,
                    ends: [ensemble, neurons],
                }
            }
        })
    }

    /// Index of the only connection that encodes from the node `object` if `from` is set, else to the neurons `object`, and the
    /// number of its neurons.
    fn encoders(&self, what: &str, object: &Object, from: bool) -> Result<(usize, usize)> {
        let same = |id: ObjectId| self.objects[id.0].name == object.name;
        let encodes = |l: &Link| {
            let (pre, post) = (&self.objects[l.pre.0].kind, &self.objects[l.post.0].kind);
            matches!(pre, Kind::Node(Node::Passthrough(_)))
                && matches!(post, Kind::Neurons)
                && l.product == Product::Dense
                && l.function.is_none()
                && l.spec.synapse.is_none()
                && matches!((&l.take.0, &l.put.0), (Columns::All, Columns::All))
                && same(if from { l.pre } else { l.post })
        };
        let found: Vec<usize> = (0..self.links.len()).filter(|&i| encodes(&self.links[i])).collect();
        match found[..] {
            [one] => Ok((one, self.links[one].put.1)),
            _ => {
                let way = if from { "from it to neurons" } else { "from a passthrough node to it" };
                let problem = format!(
                    "'{}' has {} connections that encode; before the rule, exactly one connection {way} with a dense \
                     transform and without a synapse is needed",
                    object.name,
                    if found.is_empty() { "no".to_string() } else { found.len().to_string() }
                );
                Err(Error::invalid(what, problem))
            }
        }
    }

    /// The object `CONNECTION/learning-rule` that receives the error of a PES or RLS rule, or the learning signal of Voja.
    ///
    /// # Errors
    /// A connection of another network; a connection without a rule; a rule without an input.
    pub fn learning_rule_of(&self, connection: ConnectionId) -> Result<ObjectId> {
        let rule = self.rule(connection)?;
        let link = &self.links[connection.0].name;
        rule.input.ok_or_else(|| {
            let problem = format!("{} takes no error or learning signal", rule.spec.name());
            Error::invalid(format!("the learning rule of connection '{link}'"), problem)
        })
    }

    /// The rule of a connection.
    pub(crate) fn rule(&self, connection: ConnectionId) -> Result<&Rule> {
        let unknown = |problem: &str| Error::invalid("a connection's id", problem);
        let link = self.links.get(connection.0).ok_or_else(|| unknown("it is of another network"))?;
        let none = || Error::invalid(format!("connection '{}'", link.name), "it has no learning rule");
        link.rule.as_ref().ok_or_else(none)
    }
}
