//! Solves for all decoders of a network.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use ndarray::{Array2, ArrayView1, Axis, concatenate, s};

use crate::error::{Error, Result};
use crate::network::decoding::Decode;
use crate::network::encoding::Encoding;
use crate::network::{Distribution, Function, Init, Kind, Network, ObjectId, seed_of};
use crate::solve::{Job, Key, Solution, Solver, solve_all};

/// A least-squares system: targets that share activities and solver.
struct System<'a> {
    /// Name of the first connection, for messages.
    what: &'a str,
    ensemble: ObjectId,
    group: usize,
    points: Option<&'a Distribution>,
    scale: bool,
    solver: &'a Solver,
    columns: Vec<Columns<'a>>,
}

impl System<'_> {
    /// Number of targets.
    fn size(&self) -> usize {
        self.columns.iter().map(|c| c.size).sum()
    }
}

/// Targets of one function of some dimensions.
#[derive(PartialEq)]
struct Columns<'a> {
    function: Option<&'a Function>,
    dims: &'a [usize],
    /// Matrix applied to the function's values before solving.
    after: Option<&'a Array2<f64>>,
    /// Number of targets.
    size: usize,
}

impl Network {
    /// Solves for all decoders that are not solved yet, on all cores. [`crate::Simulator`] does this too, but anew for each
    /// simulator.
    ///
    /// Connections that decode the same function of the same ensemble with the same points and solver share one solution.
    ///
    /// # Errors
    /// The error of the first connection that cannot be solved: neurons that are all silent over the points, a function that
    /// panics or changes its size, a singular system, neurons without rates in Hz, or a system that needs more memory than
    /// [`crate::network::Config::memory`] allows.
    pub fn solve(&mut self) -> Result<()> {
        self.solve_with(|_, _| {})
    }

    /// Like [`Network::solve`], calling `progress` with the number of systems solved and the number of all systems.
    ///
    /// # Errors
    /// As [`Network::solve`].
    pub fn solve_with(&mut self, progress: impl Fn(usize, usize)) -> Result<()> {
        if self.decodes.is_empty() {
            return Ok(());
        }
        let after = self.decodes.iter().map(|d| d.before_solving(self)).collect::<Result<Vec<_>>>()?;
        let (systems, places) = self.systems(&after)?;
        let decoders = self.solve_systems(&systems, &progress)?;
        let mut starts = Vec::with_capacity(self.decodes.len());
        for (decode, places) in self.decodes.iter().zip(places) {
            let parts: Vec<_> = places.iter().map(|&(system, k)| decoders[system][k].view()).collect();
            let all = concatenate(Axis(0), &parts)
                .map_err(|e| Error::Solve { what: decode.what.clone(), problem: e.to_string() })?;
            let weights = decode.compose(self, all)?;
            let values: Vec<f32> = weights.iter().map(|x| *x as f32).collect();
            if let Some(bad) = values.iter().find(|x| !x.is_finite()) {
                let problem = format!("a weight would be {bad}; weaker transforms or smaller targets help");
                return Err(Error::Solve { what: decode.what.clone(), problem });
            }
            starts.push((decode.parameter, values));
        }
        for (parameter, values) in starts {
            self.parameters[parameter].init = Init::Values(values);
        }
        self.decodes.clear();
        Ok(())
    }

    /// Sets the initial values of all parameters, and updates the ensembles' encoders and biases from them.
    pub(crate) fn set_starts(&mut self, values: Vec<Array2<f32>>) {
        for (p, values) in self.parameters.iter_mut().zip(values) {
            p.init = Init::Values(values.into_iter().collect());
        }
        self.decodes.clear();
        let values =
            |parameters: &crate::network::Index<crate::network::ParameterDef>, name: String| -> Vec<f64> {
                match parameters.place(&name).map(|at| &parameters[at].init) {
                    Some(Init::Values(values)) => values.iter().map(|x| f64::from(*x)).collect(),
                    _ => Vec::new(),
                }
            };
        for object in &mut self.objects {
            let Kind::Ensemble(encoding, _) = &mut object.kind else { continue };
            let encoding = Arc::make_mut(encoding);
            let scaled = values(&self.parameters, format!("{}/encoders", object.name));
            encoding.set_scaled_encoders(&scaled);
            encoding.bias = values(&self.parameters, format!("{}/bias", object.name));
        }
    }

    /// Bytes of memory to solve the largest system that is not solved yet; 0 if all are. Cached solutions need none.
    ///
    /// # Errors
    /// A function that fails at zeros.
    pub(crate) fn solving_bytes(&self) -> Result<u64> {
        let after = self.decodes.iter().map(|d| d.before_solving(self)).collect::<Result<Vec<_>>>()?;
        let (systems, _) = self.systems(&after)?;
        let bytes = |system: &System<'_>| -> Result<u64> {
            let encoding = self.encoding(system.ensemble)?.0;
            Ok(system.solver.bytes(encoding.n_points(system.points), (encoding.n, system.size())))
        };
        let all = systems.iter().map(bytes).collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().max().unwrap_or(0))
    }

    /// The systems to solve, and for each decode and group the indices of its system and of its columns therein.
    #[allow(clippy::type_complexity)]
    fn systems<'a>(
        &'a self,
        after: &'a [Option<Array2<f64>>],
    ) -> Result<(Vec<System<'a>>, Vec<Vec<(usize, usize)>>)> {
        let mut systems: Vec<System<'a>> = Vec::new();
        let mut of_group: HashMap<(ObjectId, usize), Vec<usize>> = HashMap::new();
        let mut places = Vec::with_capacity(self.decodes.len());
        for (decode, after) in self.decodes.iter().zip(after) {
            let Decode { what, ensemble, dims, decoding, solver, .. } = decode;
            let (encoding, _) = self.encoding(*ensemble)?;
            let mut own = Vec::with_capacity(encoding.groups);
            for group in 0..encoding.groups {
                // The ensemble's own points are of unit radius, so they are always scaled.
                let points = decoding.eval_points.as_ref();
                let scale = decoding.scale_eval_points || points.is_none();
                let function = decode.function(group);
                let size = match (after, function) {
                    (Some(after), _) => after.nrows(),
                    (None, Some(function)) => function.size_out(what, dims.len())?,
                    (None, None) => dims.len(),
                };
                let column = Columns { function, dims, after: after.as_ref(), size };
                let known = of_group.entry((*ensemble, group)).or_default();
                let same = |s: &System| {
                    let alike = s.points == points && s.scale == scale && s.solver.method == solver.method;
                    alike && (!solver.method.compares_targets() || s.columns[0] == column)
                };
                let at = known.iter().copied().find(|&at| same(&systems[at])).unwrap_or_else(|| {
                    let (ensemble, columns) = (*ensemble, Vec::new());
                    systems.push(System { what, ensemble, group, points, scale, solver, columns });
                    known.push(systems.len() - 1);
                    systems.len() - 1
                });
                let columns = &mut systems[at].columns;
                let k = columns.iter().position(|c| *c == column).unwrap_or_else(|| {
                    columns.push(column);
                    columns.len() - 1
                });
                own.push((at, k));
            }
            places.push(own);
        }
        Ok((systems, places))
    }

    /// Solves for the decoders of each system's columns; each is values × neurons.
    fn solve_systems(
        &self,
        systems: &[System<'_>],
        progress: &dyn Fn(usize, usize),
    ) -> Result<Vec<Vec<Array2<f64>>>> {
        let jobs = systems.iter().map(|system| self.job(system)).collect::<Result<Vec<_>>>()?;
        let solutions = solve_all(&jobs, &self.config.cache, self.config.memory, progress)?;
        let split = |(system, solution): (&System<'_>, Solution)| {
            let mut first = 0;
            let parts = system.columns.iter().map(|column| {
                let own = first..first + column.size;
                first = own.end;
                solution.decoders.slice(s![.., own]).t().to_owned()
            });
            parts.collect()
        };
        Ok(systems.iter().zip(solutions).map(split).collect())
    }

    fn job<'a>(&'a self, system: &'a System<'a>) -> Result<Job<'a>> {
        let encoding = self.encoding(system.ensemble)?.0;
        let seed = seed_of(encoding.seed, &format!("solver {}", system.group));
        let name = self.name(system.ensemble);
        let of = match encoding.groups {
            1 => format!("ensemble '{name}'"),
            _ => format!("ensemble {} of '{name}'", system.group),
        };
        let silent = format!("all neurons of {of} are silent over its evaluation points");
        let drawn = OnceLock::new();
        Ok(Job {
            what: system.what.to_string(),
            of,
            solver: system.solver.clone(),
            seed,
            shape: (encoding.n, system.size()),
            points: encoding.n_points(system.points),
            key: self.key(system, encoding)?,
            system: Box::new(move |points| {
                let all = match drawn.get() {
                    Some(all) => all,
                    None => {
                        let all = self.points(system)?;
                        drawn.get_or_init(|| all)
                    }
                };
                let points = all.slice(s![points, ..]).to_owned();
                Ok((self.activities(system, &points)?, self.targets(system, &points)?))
            }),
            silent: Box::new(move || format!("{silent}; {}", encoding.tuned(system.group))),
        })
    }

    /// Hash of everything a system's solution depends on; `None` if the cache is off.
    fn key(&self, system: &System<'_>, encoding: &Encoding) -> Result<Option<Key>> {
        if self.config.cache.directory().is_none() {
            return Ok(None);
        }
        let own = encoding.neurons(system.group);
        let from = system.points.unwrap_or(&encoding.eval_points);
        let mut key = Key::new()
            .text("neurons", &json_of(&encoding.neuron_type)?)
            .array("encoders", encoding.encoders.slice(s![own.clone(), ..]))
            .array("gain", ArrayView1::from(&encoding.gain[own.clone()]))
            .array("bias", ArrayView1::from(&encoding.bias[own]))
            .array("radius", ArrayView1::from(&[encoding.radius]))
            .text("points", &json_of(from)?)
            .text("points drawn", &format!("{} {} {}", encoding.n_eval_points, encoding.seed, system.group))
            .text("points scaled", if system.scale { "yes" } else { "no" });
        for column in &system.columns {
            key = key.text("dimensions", &format!("{:?}", column.dims));
            key = match column.function.map(|f| f.text()) {
                None => key.text("function", "the value itself"),
                Some(Some(text)) => key.text("function", text),
                // Closures can only be told apart by their values.
                Some(None) => key.array("values", self.column(system, column, &self.points(system)?)?.view()),
            };
            if let Some(after) = column.after {
                key = key.array("after", after.view());
            }
        }
        Ok(Some(key))
    }

    fn points(&self, system: &System<'_>) -> Result<Array2<f64>> {
        let encoding = self.encoding(system.ensemble)?.0;
        encoding.points(system.what, system.group, system.points, system.scale)
    }

    fn activities(&self, system: &System<'_>, points: &Array2<f64>) -> Result<Array2<f64>> {
        let encoding = self.encoding(system.ensemble)?.0;
        encoding.rates(system.group, points).ok_or_else(|| {
            let (kind, name) = (encoding.neuron_type.name(), self.name(system.ensemble));
            let problem = format!("the {kind} of '{name}' have no rates in Hz; give the weights directly");
            Error::Solve { what: system.what.to_string(), problem }
        })
    }

    fn targets(&self, system: &System<'_>, points: &Array2<f64>) -> Result<Array2<f64>> {
        let columns = system.columns.iter().map(|column| self.column(system, column, points));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = columns.iter().map(|t| t.view()).collect();
        concatenate(Axis(1), &views)
            .map_err(|e| Error::Solve { what: system.what.to_string(), problem: e.to_string() })
    }

    fn column(&self, system: &System<'_>, column: &Columns<'_>, points: &Array2<f64>) -> Result<Array2<f64>> {
        let values = values(system.what, column.function, &points.select(Axis(1), column.dims))?;
        Ok(match column.after {
            Some(after) => values.dot(&after.t()),
            None => values,
        })
    }
}

/// A function's values at `points`, points × values; the points themselves without a function.
fn values(what: &str, function: Option<&Function>, points: &Array2<f64>) -> Result<Array2<f64>> {
    let Some(function) = function else { return Ok(points.clone()) };
    let size = function.size_out(what, points.ncols())?;
    let mut all = Vec::with_capacity(points.nrows() * size);
    for row in points.rows() {
        let point = row.to_vec();
        let values = function.values(what, &point)?;
        if values.len() != size {
            let left = format!("the function of {what} at {point:?}");
            let values_in_words = |n| format!("{n} values");
            return Err(Error::shape(
                left,
                values_in_words(values.len()),
                "it at zeros",
                values_in_words(size),
            ));
        }
        if let Some(bad) = values.iter().find(|x| !x.is_finite()) {
            let problem =
                format!("its function is {bad} at {point:.4?}; it must be finite where it is decoded");
            return Err(Error::Solve { what: what.to_string(), problem });
        }
        all.extend(values);
    }
    Array2::from_shape_vec((points.nrows(), size), all).map_err(|e| Error::invalid(what, e.to_string()))
}

/// Settings as JSON, to hash.
fn json_of(what: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(what).map_err(|e| Error::invalid("the decoder cache", e.to_string()))
}
