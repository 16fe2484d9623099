//! Rules by which a connection's weights change while a network runs.

use crate::error::{Error, Result};
use crate::network::{
    Columns, ConnectionId, Init, Kind, Link, Network, Node, Object, ObjectId, Product, Slice, Synapse,
    seed_of,
};

/// How a connection's weights, decoders or encoders change at each step of a run. `dt` is the length of a step.
///
/// What a step brings changes the weights from the next step on. Each example has weights of its own, which start as the
/// parameter says (`CONNECTION/weights`) and go on changing from window to window and from run to run until a reset. Rates
/// and spikes are in Hz. A rule's own filters do not delay: they see the activities of the same step.
///
/// Weights that a rule changes are not trained offline, and no gradient flows through them.
///
/// Probes read what is named here, and `delta`, the change that a step brings, and `weights`, as the step used them
/// ([`crate::network::Target::Rule`]).
#[derive(Clone, Debug, PartialEq)]
pub enum LearningRule {
    /// Prescribed error sensitivity (MacNeil & Eliasmith 2011): `W[i, j] -= learning_rate dt / n e[i] a[j]`, with `n` columns
    /// of weights, the filtered activities `a` (probe: `activities`) and the error `e` (`error`), the actual value minus the
    /// wanted one, which connections bring to [`Network::learning_rule_of`]; without one it is zero.
    ///
    /// For a connection from an ensemble, or from neurons or a layer through a dense transform. To neurons, the error is in the
    /// dimensions of the ensemble or node that encodes for them, and goes through these encoders and the neurons' gains.
    Pes {
        /// At least 0.
        learning_rate: f64,
        /// Filter of the activities.
        pre_synapse: Option<Synapse>,
    },
    /// Recursive least squares, with the error as in [`LearningRule::Pes`]: `P -= P a (P a)ᵀ s` with `s = 1 / (1 + aᵀ P a)`,
    /// starting from `P = learning_rate dt / n` times the identity, and `W[i, j] -= s e[i] (P a)[j]` with the `P` before.
    /// Probes: `error`, `pre_filtered`, and `inv_gamma`, which is `P` as the step used it, row by row.
    ///
    /// For a connection from an ensemble, or from neurons or a layer through a dense transform, not to neurons. `P` has n²
    /// elements.
    Rls {
        /// At least 0.
        learning_rate: f64,
        /// Filter of the activities.
        pre_synapse: Option<Synapse>,
    },
    /// Bienenstock, Cooper & Munro (1982): `W[i, j] += learning_rate dt b[i] (b[i] - theta[i]) a[j]`, with the filtered
    /// activities `a` (probe: `pre_filtered`) and `b` (`post_filtered`) of the neurons before and behind, and `theta`
    /// (`theta`), those behind through another filter.
    ///
    /// For a connection from neurons to neurons through a dense transform, or from ensemble to ensemble with full weights.
    Bcm {
        /// At least 0.
        learning_rate: f64,
        /// Filter of the activities before.
        pre_synapse: Option<Synapse>,
        /// Filter of the activities behind.
        post_synapse: Option<Synapse>,
        /// Filter that makes the threshold of the activities behind.
        theta_synapse: Option<Synapse>,
    },
    /// Oja (1982): `W[i, j] += learning_rate dt (b[i] a[j] - beta b[i]² W[i, j])`, with `a` and `b` as in
    /// [`LearningRule::Bcm`].
    Oja {
        /// At least 0.
        learning_rate: f64,
        /// Filter of the activities before.
        pre_synapse: Option<Synapse>,
        /// Filter of the activities behind.
        post_synapse: Option<Synapse>,
        /// How fast weights are forgotten, at least 0.
        beta: f64,
    },
    /// Vector Oja (Voelker, Crawford & Eliasmith 2014): draws the encoders of active neurons to the input. Of neuron `i` with
    /// encoder `E[i]`: `E[i] += learning_rate dt l b[i] (scale[i] x - E[i])`, with its filtered activity `b[i]` (probe:
    /// `post_filtered`), the whole input `x` of the node that encodes for the neurons, and the learning signal `l`
    /// (`learning_signal`), 1 plus what connections bring to [`Network::learning_rule_of`]: -1 stops it.
    ///
    /// For a connection to an ensemble, or to a passthrough node from which one dense connection goes to neurons: its weights are
    /// the encoders that change (probe: `encoders` or, as Nengo calls them, `scaled_encoders`, in place of `weights`).
    Voja {
        /// At least 0.
        learning_rate: f64,
        /// Filter of the activities.
        post_synapse: Option<Synapse>,
        /// How long each encoder is for an input of 1: gain / radius where encoders hold them, as in Nengo's scaled encoders; for
        /// an ensemble times that.
        scale: Init,
    },
}

/// A filter as Nengo has it by default.
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

    /// With another learning rate.
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

    /// What its kind is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pes { .. } => "PES",
            Self::Rls { .. } => "RLS",
            Self::Bcm { .. } => "BCM",
            Self::Oja { .. } => "Oja",
            Self::Voja { .. } => "Voja",
        }
    }

    /// What probes can read of it.
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

    /// Refuses numbers that make no sense.
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

/// A rule at its place in a network.
#[derive(Clone)]
pub(crate) struct Rule {
    pub spec: LearningRule,
    /// Where the error or the learning signal comes in.
    pub input: Option<ObjectId>,
    /// What changes.
    pub changes: Weights,
    /// What encodes for the neurons behind.
    pub encoders: Option<Weights>,
}

/// A matrix that a rule may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Weights {
    /// Of the connection of this number.
    Of(usize),
    /// The encoders of an ensemble.
    Encoders(ObjectId),
}

/// Where such a matrix stands.
pub(crate) struct Place<'a> {
    /// The object or connection that it belongs to.
    pub owner: &'a str,
    /// Its parameter.
    pub parameter: String,
    pub rows: usize,
    pub cols: usize,
    /// What it multiplies, and what it reaches.
    pub ends: [ObjectId; 2],
}

impl Network {
    /// Finds out what the rule of a connection would change, before the connection is made.
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
            let (encoders, n) = match &post.kind {
                Kind::Ensemble(encoding, neurons) if encoding.groups == 1 => {
                    (Weights::Encoders(ObjectId(neurons.0 - 1)), encoding.n)
                }
                Kind::Node(Node::Passthrough(_)) => {
                    let (encoders, n) = self.encoders(&what, post, true)?;
                    (Weights::Of(encoders), n)
                }
                _ => {
                    return refuse(format!(
                        "Voja changes encoders, but '{}' is neither an ensemble nor a passthrough node that encodes \
                         for neurons",
                        post.name
                    ));
                }
            };
            scale.check(&format!("{name}/scale"), 1, n)?;
            if self.links.iter().any(|l| l.rule.as_ref().is_some_and(|r| r.changes == encoders)) {
                let encoders = self.place_of(encoders)?.owner;
                return refuse(format!(
                    "another rule changes the weights of '{encoders}' already; leave one of them out"
                ));
            }
            return Ok(Some((
                Rule { spec: rule, input: None, changes: encoders, encoders: Some(encoders) },
                1,
            )));
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
                            "'{}' are an array's, whose encoders are no one matrix; connect to one ensemble",
                            post.name
                        ));
                    }
                    Kind::EnsembleNeurons(ensemble) => Weights::Encoders(ensemble),
                    _ => Weights::Of(self.encoders(&what, post, false)?.0),
                };
                let all = self.place_of(found)?.cols;
                // Full weights reach the ensemble's dimensions that the connection is to.
                let reached = if link.onto_current { &link.spec.post } else { &Slice::All };
                (encoders, size) = (Some(found), Columns::new(reached, &post.name, all)?.1);
            }
            LearningRule::Rls { .. } if to_neurons => {
                return refuse(format!(
                    "RLS changes decoders, but '{}' is neurons; take PES, or connect to a node",
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

    /// Gives the last connection its rule, if it has one, with a place for what comes in; the weights that it changes are not
    /// trained.
    pub(super) fn take_rule(&mut self, rule: Option<(Rule, usize)>) -> Result<ConnectionId> {
        let connection = ConnectionId(self.links.len() - 1);
        let Some((rule, size)) = rule else { return Ok(connection) };
        let name = self.links[connection.0].name.clone();
        if let LearningRule::Voja { scale, .. } = &rule.spec {
            let neurons = self.place_of(rule.changes)?.rows;
            let scale = match rule.changes {
                // As long as gain and radius make the ensemble's.
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

    /// Where a matrix stands that a rule may change.
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

    /// The one connection that encodes: from the node `object`, if it is one, else to the neurons `object`; and how many neurons.
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
                    "'{}' has {} connections that encode: one without synapse {way}, through a dense transform, must be there \
                     before the rule",
                    object.name,
                    if found.is_empty() { "no".to_string() } else { found.len().to_string() }
                );
                Err(Error::invalid(what, problem))
            }
        }
    }

    /// Where connections bring the error of a PES or RLS rule, or the learning signal of Voja; its name is
    /// `CONNECTION/learning-rule`.
    ///
    /// # Errors
    /// A connection of another network, without a rule, or whose rule takes no input.
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
        let of = |problem: &str| Error::invalid("a connection's id", problem);
        let link = self.links.get(connection.0).ok_or_else(|| of("it is of another network"))?;
        let none = || Error::invalid(format!("connection '{}'", link.name), "it has no learning rule");
        link.rule.as_ref().ok_or_else(none)
    }
}
