//! Ensembles of a network, and their decoded outputs.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::network::decoding::Decode;
use crate::network::encoding::Encoding;
use crate::network::{
    Columns, Connection, Decoding, Ensemble, Init, Kind, Link, Network, Node, Object, ObjectId, Population,
    Process, Product,
};

impl Network {
    /// Adds an ensemble or an array of ensembles.
    ///
    /// The object stands for the represented value; for an array, the dimensions of the first ensemble come first, then those
    /// of the second, and so on.
    ///
    /// # Errors
    /// A name that is taken; zero neurons or dimensions; an invalid radius, rates or intercepts; encoders of another shape or
    /// of length zero.
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

    /// Adds noise to the currents of an ensemble's neurons, without their gain.
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

    /// The neurons of an ensemble as an object, `ENSEMBLE.neurons`. Its input is multiplied by the neurons' gain and added to
    /// their current; its output is their spikes or rates.
    ///
    /// # Errors
    /// An object that is not an ensemble.
    pub fn neurons_of(&self, ensemble: ObjectId) -> Result<ObjectId> {
        Ok(self.encoding(ensemble)?.1)
    }

    /// Warnings about settings that have no effect, in sentences.
    pub fn warnings(&self) -> Vec<String> {
        let tuning_ignored =
            |o: &Object| matches!(&o.kind, Kind::Ensemble(encoding, _) if encoding.tuning_ignored);
        let warning = |name: &str| {
            format!(
                "ensemble '{name}' has gains and biases, from which max rates and intercepts follow: those that are said \
                 for it or for its network count for nothing"
            )
        };
        self.objects.iter().filter(|o| tuning_ignored(o)).map(|o| warning(&o.name)).collect()
    }

    /// Drawn properties and neurons of an ensemble.
    pub(crate) fn encoding(&self, ensemble: ObjectId) -> Result<(&Arc<Encoding>, ObjectId)> {
        let object = self.object(ensemble)?;
        match &object.kind {
            Kind::Ensemble(encoding, neurons) => Ok((encoding, *neurons)),
            _ => Err(Error::invalid(format!("'{}'", object.name), "it is not an ensemble")),
        }
    }

    /// Adds a decoded output of an ensemble or array, the object `ENSEMBLE.NAME`. For an array the values of the first ensemble
    /// come first.
    ///
    /// The decoders are the parameter `ENSEMBLE.NAME/decoders`, solved for when a simulator is created.
    ///
    /// All connections from an output share its decoders, while each connection from an ensemble has its own.
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

    /// The represented value as an object, `ENSEMBLE.output`, created on first use. Connections from arrays and probes of
    /// ensembles read it. Decoders that only a probe reads are not trained.
    ///
    /// # Errors
    /// An object that is not an ensemble.
    pub fn output_of(&mut self, ensemble: ObjectId) -> Result<ObjectId> {
        match self.existing_output(ensemble)? {
            Some(output) => self.connect_output(output).map(|()| output),
            None => self.add_output(ensemble, "output", Decoding::new()),
        }
    }

    /// Like [`Network::output_of`], for a probe. Connections may read an array's output too.
    pub(crate) fn probed_output(&mut self, ensemble: ObjectId) -> Result<ObjectId> {
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
        let own = |o: &Object| matches!(o.kind, Kind::Decoded(of, _) if of == ensemble);
        let name = format!("{}.output", self.name(ensemble));
        Ok(self.objects.place(&name).filter(|&at| own(&self.objects[at])).map(ObjectId))
    }

    /// Makes the decoders of an output trainable that only probes have read so far.
    pub(super) fn connect_output(&mut self, output: ObjectId) -> Result<()> {
        if let Some(at) = self.probed.iter().position(|o| *o == output) {
            self.probed.swap_remove(at);
            let decoders = self.parameter_index(&format!("{}/decoders", self.name(output)))?;
            self.parameters[decoders].trainable = self.config.trainable;
        }
        Ok(())
    }

    /// Defines the gains that multiply the input of an ensemble's neurons: a parameter that is not trained, created when it is
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
