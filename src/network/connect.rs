//! Connections of a network.

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::network::decoding::Decode;
use crate::network::learning::Rule;
use crate::network::transform::Between;
use crate::network::{
    Columns, Connection, ConnectionId, Decoding, Init, Kind, Link, Network, ObjectId, Product, Slice, seed_of,
};

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
    fn add_link(&mut self, link: Link, rule: Option<(Rule, usize)>) -> Result<ConnectionId> {
        if let (Kind::EnsembleNeurons(ensemble), false) = (&self.object(link.post)?.kind, link.onto_current) {
            self.define_gain(*ensemble)?;
        }
        self.links.push(link);
        self.take_rule(rule)
    }
    /// A connection from an ensemble, whose decoders and transform are one matrix.
    fn connect_decoded(
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
}

/// The dimensions that a slice of the object `name` means.
fn indices(slice: &Slice, name: &str, size: usize) -> Result<Vec<usize>> {
    slice.indices(size).map_err(|problem| Error::invalid(format!("'{name}[{slice}]'"), problem))
}
