//! What is decoded of an ensemble, and the matrices that carry it.

use std::sync::Arc;

use ndarray::Array2;

use super::ensemble::Encoding;
use super::{
    Columns, Connection, ConnectionId, Distribution, Ensemble, Function, Init, Kind, Link, Network, Node,
    ObjectId, Population, Process, Product, Slice, seed_of,
};
use crate::error::{Error, Result};
use crate::solve::Solver;

/// What is decoded of an ensemble, and how its decoders are found. Of other objects, which represent nothing, only a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// What is computed: the value itself if there are none, one function, or one for each ensemble of an array.
    pub functions: Vec<Function>,
    /// How decoders are found; as [`super::Config::solver`] says by default.
    pub solver: Option<Solver>,
    /// Points to solve at; the ensemble's by default.
    pub eval_points: Option<Distribution>,
    /// Whether own points are in radii of the ensemble; true.
    pub scale_eval_points: bool,
    /// The weights themselves, in place of a solution: of a connection size_out × neurons, with full weights the post
    /// ensemble's neurons × neurons; of an output (dimensions of all ensembles) × (neurons of one).
    pub weights: Option<Init>,
    /// Whether an output's decoders are trained, as [`super::Config::trainable`] says if not given; for connections
    /// [`Connection::trainable`] says it.
    pub trainable: Option<bool>,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            functions: Vec::new(),
            solver: None,
            eval_points: None,
            scale_eval_points: true,
            weights: None,
            trainable: None,
        }
    }
}

impl Decoding {
    /// The represented value.
    pub fn new() -> Self {
        Self::default()
    }

    /// A function of the represented value, for each ensemble of an array.
    pub fn of(function: impl Into<Function>) -> Self {
        Self { functions: vec![function.into()], ..Self::default() }
    }

    /// A function for each ensemble of an array; they may give different numbers of values.
    pub fn of_each(functions: impl IntoIterator<Item = Function>) -> Self {
        Self { functions: functions.into_iter().collect(), ..Self::default() }
    }

    /// With another solver.
    pub fn solver(self, solver: impl Into<Solver>) -> Self {
        Self { solver: Some(solver.into()), ..self }
    }

    /// With these decoders, (dimensions of all ensembles) × (neurons of one), in place of a solution.
    pub fn weights(self, weights: Init) -> Self {
        Self { weights: Some(weights), ..self }
    }

    /// With decoders that are trained or not, whatever the network says.
    pub fn trainable(self, trainable: bool) -> Self {
        Self { trainable: Some(trainable), ..self }
    }

    /// With decoders that are not trained.
    pub fn frozen(self) -> Self {
        self.trainable(false)
    }

    /// The function of a signal that nothing decodes, `from`.
    pub(super) fn of_signal(&self, connection: &str, from: &str) -> Result<Option<Function>> {
        let invalid = |problem| Err(Error::invalid(format!("connection '{connection}'"), problem));
        if (Self { functions: self.functions.clone(), ..Self::default() }) != *self {
            return invalid(format!(
                "a solver, points to solve at and decoders are for connections from ensembles, but '{from}' is none; a \
                 function of it is computed as it is"
            ));
        }
        match &self.functions[..] {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            more => invalid(format!("it has {} functions; let one give all values", more.len())),
        }
    }

    /// The function of a group.
    fn function(&self, group: usize) -> Option<&Function> {
        self.functions.get(if self.functions.len() == 1 { 0 } else { group })
    }

    /// Values that come of `dims` dimensions of each of `groups` ensembles.
    fn sizes(&self, what: &str, dims: usize, groups: usize) -> Result<Vec<usize>> {
        let count = self.functions.len();
        if count > 1 && count != groups {
            let of = |n| format!("{n} functions");
            return Err(Error::shape(what, of(count), "its ensembles", groups));
        }
        let sizes = self.functions.iter().map(|f| f.size_out(what, dims)).collect::<Result<Vec<_>>>()?;
        Ok(match sizes[..] {
            [] => vec![dims; groups],
            [one] => vec![one; groups],
            _ => sizes,
        })
    }
}

/// A parameter whose start is solved for.
#[derive(Clone)]
pub(crate) struct Decode {
    pub parameter: usize,
    /// For messages.
    pub what: String,
    pub ensemble: ObjectId,
    /// Dimensions of each ensemble that functions see.
    pub dims: Vec<usize>,
    pub decoding: Decoding,
    pub solver: Solver,
    /// What follows the decoders: values that arrive × values decoded.
    pub transform: Option<Array2<f64>>,
    /// The encoders that follow the transform: of the post ensemble, at these of its dimensions.
    pub encode: Option<(ObjectId, Vec<usize>)>,
}

impl Decode {
    /// The function of a group.
    pub fn function(&self, group: usize) -> Option<&Function> {
        self.decoding.function(group)
    }
}

impl Network {
    /// Adds an ensemble, or an array of some. The object stands for the represented value: of an array `dimensions` of the
    /// first ensemble, then those of the second.
    ///
    /// # Errors
    /// A name that is taken, no neurons or dimensions, a radius, rates or intercepts that make no sense, or encoders of
    /// another shape or without a direction.
    pub fn ensemble(&mut self, name: &str, ensemble: Ensemble) -> Result<ObjectId> {
        let name = &self.full(name);
        let encoding = ensemble.draw(name, &self.config.ensemble, self.seed)?;
        let (size, n) = (encoding.groups * encoding.dimensions, encoding.gain.len());
        let neuron_type = &encoding.neuron_type;
        neuron_type.check(&format!("ensemble '{name}'"))?;
        let (seed, prefix) = ensemble.seed.map_or((self.seed, name.as_str()), |own| (own, ""));
        let population = Population::new(prefix, n, neuron_type, &ensemble.states, seed)?;
        let values = |all: &mut dyn Iterator<Item = f64>| Init::Values(all.map(|x| x as f32).collect());
        let encoders = values(&mut encoding.scaled_encoders().into_iter());
        let bias = values(&mut encoding.bias.iter().copied());
        let (d, noise) = (encoding.dimensions, encoding.noise.clone());
        self.whole_or_nothing(|net| {
            let id = ObjectId(net.objects.len());
            let neurons = ObjectId(id.0 + 1);
            net.add(name, Kind::Ensemble(Arc::new(encoding), neurons), size, size)?;
            net.add(&format!("{name}.neurons"), Kind::EnsembleNeurons(id), n, n)?;
            net.objects[neurons.0].population = Some(population);
            net.define(&format!("{name}/encoders"), n, d, encoders, ensemble.train_encoders)?;
            net.define(&format!("{name}/bias"), 1, n, bias, ensemble.train_bias)?;
            if let Some(noise) = noise {
                net.noise(name, neurons, noise.with_size(n))?;
            }
            Ok(id)
        })
    }

    /// Noise on the currents of an ensemble's neurons, as it is.
    fn noise(&mut self, ensemble: &str, neurons: ObjectId, noise: Process) -> Result<()> {
        let what = format!("the noise of ensemble '{ensemble}'");
        noise.check(&what)?;
        let (size, n) = (noise.size(), self.object(neurons)?.size_in);
        if size != n {
            return Err(Error::shape(what, size, "its neurons", n));
        }
        let name = format!("{ensemble}.noise");
        let pre = self.add(&name, Kind::Node(Node::Process(noise)), 0, n)?;
        self.links.push(Link {
            name,
            pre,
            post: neurons,
            spec: Connection::new(),
            take: (Columns::All, n),
            put: (Columns::All, n),
            product: Product::Identity,
            function: None,
            onto_current: true,
            rule: None,
        });
        Ok(())
    }

    /// The neurons of an ensemble as an object: what comes to them is multiplied by their gain and added to their current, and
    /// what they give are their spikes or rates. It is named `ENSEMBLE.neurons`.
    ///
    /// # Errors
    /// An object that is no ensemble.
    pub fn neurons_of(&self, ensemble: ObjectId) -> Result<ObjectId> {
        Ok(self.encoding(ensemble)?.1)
    }

    /// What a user should know about how this network was understood, in sentences.
    pub fn warnings(&self) -> Vec<String> {
        let unheeded =
            |o: &super::Object| matches!(&o.kind, Kind::Ensemble(encoding, _) if encoding.unheeded);
        let warning = |name: &str| {
            format!(
                "ensemble '{name}' has gains and biases, from which max rates and intercepts follow: those that are said \
                 for it or for its network count for nothing"
            )
        };
        self.objects.iter().filter(|o| unheeded(o)).map(|o| warning(&o.name)).collect()
    }

    /// What an ensemble drew, and its neurons.
    pub(crate) fn encoding(&self, ensemble: ObjectId) -> Result<(&Arc<Encoding>, ObjectId)> {
        let object = self.object(ensemble)?;
        match &object.kind {
            Kind::Ensemble(encoding, neurons) => Ok((encoding, *neurons)),
            _ => Err(Error::invalid(format!("'{}'", object.name), "it is no ensemble")),
        }
    }

    /// Adds an output of an ensemble or array: the object `ENSEMBLE.NAME` that gives what is decoded, of an array first that of
    /// the first ensemble. Its decoders are the parameter `ENSEMBLE.NAME/decoders`, solved for when a simulator is made.
    ///
    /// All connections from an output share its decoders, while each connection from an ensemble has weights of its own.
    ///
    /// # Errors
    /// A name that is taken, functions that do not fit, or decoders of another shape.
    pub fn add_output(&mut self, ensemble: ObjectId, name: &str, decoding: Decoding) -> Result<ObjectId> {
        let name = &format!("{}.{name}", self.object(ensemble)?.name);
        let (encoding, _) = self.encoding(ensemble)?;
        let (n, groups, d) = (encoding.n, encoding.groups, encoding.dimensions);
        let what = format!("output '{name}'");
        let solver = decoding.solver.clone().unwrap_or_else(|| self.config.solver.clone());
        solver.check(&what)?;
        if solver.weights {
            return Err(Error::invalid(what, "full weights are for a connection from ensemble to ensemble"));
        }
        let sizes = decoding.sizes(&what, d, groups)?;
        let size = sizes.iter().sum();
        self.whole_or_nothing(|net| {
            let id = net.add(name, Kind::Decoded(ensemble, sizes.into()), 0, size)?;
            let init = decoding.weights.clone().unwrap_or(Init::Zeros);
            net.define(&format!("{name}/decoders"), size, n, init, decoding.trainable)?;
            if decoding.weights.is_none() {
                let parameter = net.parameters.len() - 1;
                let dims = (0..d).collect();
                let (transform, encode) = (None, None);
                let decode = Decode { parameter, what, ensemble, dims, decoding, solver, transform, encode };
                net.decodes.push(decode);
            }
            Ok(id)
        })
    }

    /// The represented value as an object, `ENSEMBLE.output`; made on first use. Connections from arrays and probes of
    /// ensembles read it. What only a probe reads of an ensemble has decoders that are not trained.
    ///
    /// # Errors
    /// An object that is no ensemble.
    pub fn output_of(&mut self, ensemble: ObjectId) -> Result<ObjectId> {
        match self.existing_output(ensemble)? {
            Some(output) => self.connect_output(output).map(|()| output),
            None => self.add_output(ensemble, "output", Decoding::new()),
        }
    }

    /// The same for a probe. An array's output is also there for connections.
    pub(super) fn probed_output(&mut self, ensemble: ObjectId) -> Result<ObjectId> {
        match self.existing_output(ensemble)? {
            Some(output) => Ok(output),
            None if self.encoding(ensemble)?.0.groups > 1 => self.output_of(ensemble),
            None => {
                let output = self.add_output(ensemble, "output", Decoding::new().frozen())?;
                self.probed.push(output);
                Ok(output)
            }
        }
    }

    fn existing_output(&self, ensemble: ObjectId) -> Result<Option<ObjectId>> {
        self.encoding(ensemble)?;
        let own = |o: &super::Object| matches!(o.kind, Kind::Decoded(of, _) if of == ensemble);
        let name = format!("{}.output", self.name(ensemble));
        Ok(self.objects.place(&name).filter(|&at| own(&self.objects[at])).map(ObjectId))
    }

    /// Trains the decoders of an output that only probes have read so far.
    pub(super) fn connect_output(&mut self, output: ObjectId) -> Result<()> {
        if let Some(at) = self.probed.iter().position(|o| *o == output) {
            self.probed.swap_remove(at);
            let decoders = self.parameter_index(&format!("{}/decoders", self.name(output)))?;
            self.parameters[decoders].trainable = self.config.trainable;
        }
        Ok(())
    }

    /// A connection from an ensemble, whose decoders and transform are one matrix.
    pub(super) fn connect_decoded(
        &mut self,
        name: String,
        pre: ObjectId,
        post: ObjectId,
        spec: Connection,
    ) -> Result<ConnectionId> {
        let (from, to) = (self.object(pre)?.clone(), self.object(post)?.clone());
        let (encoding, _) = self.encoding(pre)?;
        let (n, d) = (encoding.n, encoding.dimensions);
        let what = format!("connection '{name}'");
        let decoding = spec.decoding.clone();
        let solver = decoding.solver.clone().unwrap_or_else(|| self.config.solver.clone());
        solver.check(&what)?;
        let dims = indices(&spec.pre, &from.name, d)?;
        let (put, size_out) = Columns::new(&spec.post, &to.name, to.size_in)?;
        // Given weights are in place of function and transform.
        let transform = match &decoding.weights {
            Some(_) => None,
            None => {
                let size = decoding.sizes(&what, dims.len(), 1)?.iter().sum();
                self.decoded_transform(&name, &spec, size, size_out, [&from.name, &to.name])?
            }
        };
        let mut link = Link {
            name: name.clone(),
            pre,
            post,
            spec,
            take: (Columns::All, n),
            put: (put.scatter(), size_out),
            product: Product::Dense,
            function: None,
            onto_current: false,
            rule: None,
        };
        let mut encode = None;
        if solver.weights {
            let post_dims = indices(&link.spec.post, &to.name, to.size_in)?;
            let Ok((encoding, neurons)) = self.encoding(post).map(|(e, n)| (e.clone(), n)) else {
                let problem = format!("its solver finds full weights, but '{}' is no ensemble", to.name);
                return Err(Error::invalid(what, problem));
            };
            if encoding.groups > 1 {
                let problem = format!(
                    "its solver finds full weights, but '{}' is an array; leave out weights",
                    to.name
                );
                return Err(Error::invalid(what, problem));
            }
            encode = Some((post, post_dims));
            link = Link { post: neurons, put: (Columns::All, encoding.n), onto_current: true, ..link };
        }
        let rule = self.attach(&link)?;
        self.whole_or_nothing(|net| {
            let init = decoding.weights.clone().unwrap_or(Init::Zeros);
            let trained = link.spec.trained_to(&to.name);
            net.define(&format!("{name}/weights"), link.put.1, n, init, trained)?;
            if decoding.weights.is_none() {
                let parameter = net.parameters.len() - 1;
                let ensemble = pre;
                let decode = Decode { parameter, what, ensemble, dims, decoding, solver, transform, encode };
                net.decodes.push(decode);
            }
            net.add_link(link, rule)
        })
    }

    /// The matrix that a connection applies to the `size` values that are decoded for it; nothing if there is none.
    fn decoded_transform(
        &self,
        name: &str,
        spec: &Connection,
        size: usize,
        size_out: usize,
        [from, to]: [&str; 2],
    ) -> Result<Option<Array2<f64>>> {
        let what = format!("connection '{name}'");
        let between = spec.transform.between(name, size, size_out)?;
        if between.size_out != size_out {
            return Err(Error::Shape {
                left: format!("what is decoded of '{from}' for {what}"),
                left_shape: format!("{} values", between.size_out),
                right: format!("the input of '{to}'"),
                right_shape: format!("{size_out}"),
                hint: "; give the connection a function of that size, a dense transform or a slice".into(),
            });
        }
        let values = between.weights.as_ref().map(|(rows, cols, init)| {
            let key = format!("{name}/transform");
            init.check(&key, *rows, *cols)?;
            Ok::<_, Error>(init.values(*rows, *cols, seed_of(self.seed, &key)))
        });
        between.product.matrix(size, size_out, values.transpose()?).ok_or_else(|| {
            let problem = "it decodes and transforms an image; add an output to the ensemble with add_output, in a file \
                           [[output]], and connect from that";
            Error::invalid(what, problem)
        })
    }

    /// The gains that what comes to an ensemble's neurons is multiplied by: a parameter that is not trained, made when it is
    /// needed.
    pub(super) fn define_gain(&mut self, ensemble: ObjectId) -> Result<()> {
        let (encoding, _) = self.encoding(ensemble)?;
        let gain: Vec<f32> = encoding.gain.iter().map(|x| *x as f32).collect();
        let name = format!("{}/gain", self.name(ensemble));
        if self.parameter_index(&name).is_ok() {
            return Ok(());
        }
        self.define(&name, 1, gain.len(), Init::Values(gain), Some(false))
    }
}

impl Decode {
    /// Whether the weights themselves are solved for, since the method finds others than by way of decoders.
    fn whole(&self) -> bool {
        self.encode.is_some() && !self.solver.method.compositional()
    }

    /// What targets go through before they are solved for.
    pub fn before_solving(&self, network: &Network) -> Result<Option<Array2<f64>>> {
        let Some((post, dims)) = self.encode.as_ref().filter(|_| self.whole()) else { return Ok(None) };
        let encoders = network.encoding(*post)?.0.scaled_encoders().select(ndarray::Axis(1), dims);
        Ok(Some(match &self.transform {
            Some(transform) => encoders.dot(transform),
            None => encoders,
        }))
    }

    /// The parameter: the decoders of each group one below the other (each values × neurons), what follows them, and the
    /// encoders at the end.
    pub fn compose(&self, network: &Network, decoders: Array2<f64>) -> Result<Array2<f64>> {
        let mut weights = decoders;
        if self.whole() {
            return Ok(weights);
        }
        if let Some(transform) = &self.transform {
            weights = transform.dot(&weights);
        }
        if let Some((post, dims)) = &self.encode {
            let (encoding, _) = network.encoding(*post)?;
            let encoders = encoding.scaled_encoders().select(ndarray::Axis(1), dims);
            weights = encoders.dot(&weights);
        }
        Ok(weights)
    }
}

/// The dimensions that a slice of the object `name` means.
fn indices(slice: &Slice, name: &str, size: usize) -> Result<Vec<usize>> {
    slice.indices(size).map_err(|problem| Error::invalid(format!("'{name}[{slice}]'"), problem))
}
