//! How a connection carries a signal.

use super::learning::Rule;
use super::transform::Between;
use super::{
    Columns, ConnectionId, Decoding, Distribution, Function, Init, Kind, LearningRule, Link, Network,
    ObjectId, Slice, Synapse, Transform,
};
use crate::error::{Error, Result};
use crate::solve::Solver;

/// How a connection carries a signal.
///
/// From an ensemble, it carries what is decoded: a function of the represented value. Decoders and transform are one matrix
/// then, the parameter `CONNECTION/weights`, size_out × neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Which dimensions of the pre object it takes.
    pub pre: Slice,
    /// What is decoded, if the pre object is an ensemble; of another, at most a function of its output.
    pub decoding: Decoding,
    /// Which dimensions of the post object it reaches; what comes to one of them more than once is summed.
    pub post: Slice,
    /// What it multiplies by.
    pub transform: Transform,
    /// Its filter; without one it does not delay.
    pub synapse: Option<Synapse>,
    /// Whether its weights are trained; as [`super::Config::trainable`] says if not given. On a connection that brings a learning
    /// rule its error they are not.
    pub trainable: Option<bool>,
    /// How its weights, or the encoders behind it, change while the network runs.
    pub learning_rule: Option<LearningRule>,
    /// Its name; `pre->post` if not given.
    pub name: Option<String>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            pre: Slice::All,
            decoding: Decoding::default(),
            post: Slice::All,
            transform: Transform::Identity,
            synapse: None,
            trainable: None,
            learning_rule: None,
            name: None,
        }
    }
}

impl Connection {
    /// Without transform and synapse; [`super::Config::connection`] has Nengo's default synapse.
    pub fn new() -> Self {
        Self::default()
    }

    /// From these dimensions of the pre object: `0..3`, `-1`, `[2, 0, 1]`, see [`Slice`].
    pub fn pre(mut self, slice: impl Into<Slice>) -> Self {
        self.pre = slice.into();
        self
    }

    /// To these dimensions of the post object.
    pub fn post(mut self, slice: impl Into<Slice>) -> Self {
        self.post = slice.into();
        self
    }

    /// With a function of what an ensemble represents, of the dimensions that [`Connection::pre`] leaves; the transform is
    /// applied to what it gives.
    ///
    /// The output of another object goes through the function as it is, without decoders. Named functions and expressions
    /// ([`Function::parse`]) are computed on the device and trained through. A closure is called on the host for each step and
    /// example, as that of a [`super::Node::callback`] is: it has no gradient, and in a cycle the network runs one step at a
    /// time.
    pub fn function(mut self, function: impl Into<Function>) -> Self {
        self.decoding.functions = vec![function.into()];
        self
    }

    /// With another way to find decoders.
    pub fn solver(mut self, solver: impl Into<Solver>) -> Self {
        self.decoding.solver = Some(solver.into());
        self
    }

    /// With other points to find decoders at, in radii of the ensemble.
    pub fn eval_points(mut self, points: impl Into<Distribution>) -> Self {
        self.decoding.eval_points = Some(points.into());
        self
    }

    /// With these weights in place of solved decoders; see [`Decoding::weights`].
    pub fn weights(mut self, weights: Init) -> Self {
        self.decoding.weights = Some(weights);
        self
    }

    /// With a transform.
    pub fn transform(mut self, transform: Transform) -> Self {
        self.transform = transform;
        self
    }

    /// With a filter.
    pub fn synapse(mut self, synapse: impl Into<Synapse>) -> Self {
        self.synapse = Some(synapse.into());
        self
    }

    /// With a name of its own.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_string());
        self
    }

    /// With a rule by which weights change while the network runs.
    pub fn learning_rule(mut self, rule: LearningRule) -> Self {
        self.learning_rule = Some(rule);
        self
    }

    /// Trained or not, whatever its network says.
    pub fn trainable(mut self, trainable: bool) -> Self {
        self.trainable = Some(trainable);
        self
    }

    /// Not trained.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }

    /// Whether weights are trained that lead to an object of this name.
    pub(super) fn trained_to(&self, object: &str) -> Option<bool> {
        // Nothing before a learning rule is trained.
        self.trainable.or(object.ends_with("/learning-rule").then_some(false))
    }
}

impl Network {
    /// Connects two objects. What several connections bring to one object is summed.
    ///
    /// # Errors
    /// [`Error::Shape`] with both objects, a slice or an index beyond an object, a synapse that makes no sense, a function that
    /// panics or gives no values, or a learning rule that does not fit.
    pub fn connect(&mut self, pre: ObjectId, post: ObjectId, spec: Connection) -> Result<ConnectionId> {
        // What comes from an array is decoded by its output, ensemble by ensemble.
        let pre = match &self.object(pre)?.kind {
            Kind::Ensemble(encoding, _) if encoding.groups > 1 && spec.decoding == Decoding::default() => {
                self.object(post)?;
                self.output_of(pre)?
            }
            _ => pre,
        };
        let (from, to) = (self.object(pre)?.clone(), self.object(post)?.clone());
        let given = spec.name.as_ref().map(|name| self.full(name));
        let base = given.unwrap_or_else(|| format!("{}->{}", from.name, to.name));
        let name = if spec.name.is_none() { self.links.numbered(base) } else { base };
        if self.links.place(&name).is_some() {
            return Err(Error::DuplicateName { name });
        }
        if let Some(synapse) = &spec.synapse {
            synapse.check(&format!("connection '{name}'"))?;
        }
        if to.size_in == 0 {
            let problem = format!("it takes no input, but '{}' is connected to it", from.name);
            return Err(Error::invalid(format!("node '{}'", to.name), problem));
        }
        match &from.kind {
            Kind::Ensemble(encoding, _) if encoding.groups == 1 => {
                return self.connect_decoded(name, pre, post, spec);
            }
            Kind::Ensemble(..) => {
                let problem = format!(
                    "'{0}' is an array, whose ensembles decode functions by outputs of its own (add_output, in a file \
                     [[output]]); of the value that it represents, connect from '{0}.output'",
                    from.name
                );
                return Err(Error::invalid(format!("connection '{name}'"), problem));
            }
            _ => {}
        }
        let take = Columns::new(&spec.pre, &from.name, from.size_out)?;
        let function = spec.decoding.of_signal(&name, &from.name)?;
        let size_in = match &function {
            Some(function) => function.size_out(&format!("connection '{name}'"), take.1)?,
            None => take.1,
        };
        let (put, size_out) = Columns::new(&spec.post, &to.name, to.size_in)?;
        let put = (put.scatter(), size_out);
        let sliced = |name: &str, slice: &Slice| match slice {
            Slice::All => format!("'{name}'"),
            slice => format!("'{name}[{slice}]'"),
        };
        let Between { product, weights, size_out: size } =
            spec.transform.between(&name, size_in, size_out)?;
        if size != size_out {
            let (way, hint) = match &function {
                None if size == size_in => ("", "; give the connection a dense transform"),
                Some(_) if size == size_in => {
                    (" through its function", "; a dense transform brings it to another size")
                }
                _ => (" through its transform", ""),
            };
            return Err(Error::Shape {
                left: format!("the output of {}{way}", sliced(&from.name, &spec.pre)),
                left_shape: size.to_string(),
                right: format!("the input of {}", sliced(&to.name, &spec.post)),
                right_shape: size_out.to_string(),
                hint: hint.into(),
            });
        }
        let link =
            Link { name, pre, post, spec, take, put, product, function, onto_current: false, rule: None };
        let rule = self.attach(&link)?;
        if rule.as_ref().is_some_and(|(rule, _)| rule.encoders != Some(rule.changes))
            && link.function.is_some()
        {
            let problem =
                "its learning rule changes the weights of activities, so it cannot have a function of them";
            return Err(Error::invalid(format!("connection '{}'", link.name), problem));
        }
        self.connect_output(pre)?;
        self.whole_or_nothing(|net| {
            if let Some((rows, cols, init)) = weights {
                let trained = link.spec.trained_to(&to.name);
                net.define(&format!("{}/weights", link.name), rows, cols, init, trained)?;
            }
            net.add_link(link, rule)
        })
    }

    /// Takes a link with its rule, and defines the gains that what it brings may be multiplied by.
    pub(super) fn add_link(&mut self, link: Link, rule: Option<(Rule, usize)>) -> Result<ConnectionId> {
        if let (Kind::EnsembleNeurons(ensemble), false) = (&self.object(link.post)?.kind, link.onto_current) {
            self.define_gain(*ensemble)?;
        }
        self.links.push(link);
        self.take_rule(rule)
    }
}
