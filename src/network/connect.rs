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
    /// Connects two objects. Inputs from several connections to one object are summed.
    ///
    /// # Errors
    /// [`Error::Shape`] naming both objects; a slice or an index beyond an object; an invalid synapse; a function that panics
    /// or returns no values; a learning rule that does not fit.
    pub fn connect(&mut self, pre: ObjectId, post: ObjectId, spec: Connection) -> Result<ConnectionId> {
        // A connection from an array reads its output, which is decoded ensemble by ensemble.
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
                    "'{0}' is an array, so functions of its ensembles need an output (add_output, in a file [[output]]); for \
                     the represented value, connect from '{0}.output'",
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
        let Between { product, weights, size_out: size } =
            spec.transform.between(&name, size_in, size_out)?;
        if size != size_out {
            let ends = [(from.name.as_str(), &spec.pre), (to.name.as_str(), &spec.post)];
            return Err(size_mismatch(ends, function.is_some(), [size_in, size, size_out]));
        }
        let link =
            Link { name, pre, post, spec, take, put, product, function, onto_current: false, rule: None };
        let rule = self.attach(&link)?;
        if rule.as_ref().is_some_and(|(rule, _)| rule.encoders != Some(rule.changes))
            && link.function.is_some()
        {
            let problem =
                "its learning rule changes weights of activities, so it cannot apply a function to them";
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

    /// Adds a link with its rule, and defines the gains that multiply its output where it leads to an ensemble's neurons.
    fn add_link(&mut self, link: Link, rule: Option<(Rule, usize)>) -> Result<ConnectionId> {
        if let (Kind::EnsembleNeurons(ensemble), false) = (&self.object(link.post)?.kind, link.onto_current) {
            self.define_gain(*ensemble)?;
        }
        self.links.push(link);
        self.take_rule(rule)
    }
    /// Connects from an ensemble: decoders and transform form one matrix.
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
        // Given weights replace function and transform.
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
                let problem = format!("its solver finds full weights, but '{}' is not an ensemble", to.name);
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

    /// The matrix that a connection applies to its `size` decoded values; `None` for the identity.
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
                left: format!("the decoded output of '{from}' for {what}"),
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
            let problem = "it cannot decode an image and transform it; add an output to the ensemble (add_output, in a file \
                           [[output]]) and connect from that";
            Error::invalid(what, problem)
        })
    }
}

/// The error of a connection whose output differs in size from the input that it reaches. `sizes` are those before the
/// transform, after it, and of the input.
fn size_mismatch(ends: [(&str, &Slice); 2], has_function: bool, sizes: [usize; 3]) -> Error {
    let [size_in, size, size_out] = sizes;
    let sliced = |(name, slice): (&str, &Slice)| match slice {
        Slice::All => format!("'{name}'"),
        slice => format!("'{name}[{slice}]'"),
    };
    let (way, hint) = match has_function {
        false if size == size_in => ("", "; give the connection a dense transform"),
        true if size == size_in => (" through its function", "; a dense transform brings it to another size"),
        _ => (" through its transform", ""),
    };
    Error::Shape {
        left: format!("the output of {}{way}", sliced(ends[0])),
        left_shape: size.to_string(),
        right: format!("the input of {}", sliced(ends[1])),
        right_shape: size_out.to_string(),
        hint: hint.into(),
    }
}

/// Indices that `slice` selects of the object `name`.
fn indices(slice: &Slice, name: &str, size: usize) -> Result<Vec<usize>> {
    slice.indices(size).map_err(|problem| Error::invalid(format!("'{name}[{slice}]'"), problem))
}
