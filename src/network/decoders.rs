//! The decoders of a network, all of them found at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use ndarray::{Array2, Axis, concatenate, s};

use super::decoding::Decode;
use super::{Distribution, Function, Init, Kind, Network, ObjectId, seed_of};
use crate::error::{Error, Result};
use crate::solve::Solver;

/// What is solved with the same activities and the same method.
struct System<'a> {
    /// Of the first connection, for messages.
    what: &'a str,
    ensemble: ObjectId,
    group: usize,
    points: Option<&'a Distribution>,
    scale: bool,
    solver: &'a Solver,
    columns: Vec<Columns<'a>>,
}

/// Targets: a function of some dimensions.
#[derive(PartialEq)]
struct Columns<'a> {
    function: Option<&'a Function>,
    dims: &'a [usize],
}

impl Network {
    /// Finds the decoders that no simulator has asked for yet, on all cores; [`crate::Simulator`] does it by itself, but each anew.
    ///
    /// Connections that read the same function of the same ensemble, with the same points and solver, are solved once.
    ///
    /// # Errors
    /// Of the first connection that cannot be solved: neurons that are all silent over the points, a function that panics or
    /// gives something else than it gave for zeros, a system without an answer, or neurons that know no rates.
    pub fn solve(&mut self) -> Result<()> {
        self.solve_with(|_, _| {})
    }

    /// The same; `progress` is called with the systems that are solved and the number of all.
    ///
    /// # Errors
    /// As [`Network::solve`].
    pub fn solve_with(&mut self, mut progress: impl FnMut(usize, usize)) -> Result<()> {
        if self.decodes.is_empty() {
            return Ok(());
        }
        let (systems, places) = self.systems()?;
        let decoders = self.solve_systems(&systems, &mut progress)?;
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

    /// Makes all parameters start at these values; ensembles are known by them from then on.
    pub(crate) fn set_starts(&mut self, values: Vec<Array2<f32>>) {
        for (p, values) in self.parameters.iter_mut().zip(values) {
            p.init = Init::Values(values.into_iter().collect());
        }
        self.decodes.clear();
        let values = |parameters: &[super::ParameterDef], name: String| -> Vec<f64> {
            match parameters.iter().find(|p| p.name == name).map(|p| &p.init) {
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

    /// What is to be solved, and for each decode and group the system and which of its results.
    #[allow(clippy::type_complexity)]
    fn systems(&self) -> Result<(Vec<System<'_>>, Vec<Vec<(usize, usize)>>)> {
        let mut systems: Vec<System<'_>> = Vec::new();
        let mut of_group: HashMap<(ObjectId, usize), Vec<usize>> = HashMap::new();
        let mut places = Vec::with_capacity(self.decodes.len());
        for decode in &self.decodes {
            let Decode { what, ensemble, dims, decoding, solver, .. } = decode;
            let (encoding, _) = self.encoding(*ensemble)?;
            let mut own = Vec::with_capacity(encoding.groups);
            for group in 0..encoding.groups {
                let (points, scale) = (decoding.eval_points.as_ref(), decoding.scale_eval_points);
                let known = of_group.entry((*ensemble, group)).or_default();
                let same = |s: &System| {
                    s.points == points
                        && (s.scale == scale || points.is_none())
                        && s.solver.method == solver.method
                };
                let at = known.iter().copied().find(|&at| same(&systems[at])).unwrap_or_else(|| {
                    let (ensemble, columns) = (*ensemble, Vec::new());
                    systems.push(System { what, ensemble, group, points, scale, solver, columns });
                    known.push(systems.len() - 1);
                    systems.len() - 1
                });
                let column = Columns { function: decode.function(group), dims };
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

    /// The decoders of each system's columns, each values × neurons.
    fn solve_systems(
        &self,
        systems: &[System<'_>],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Vec<Array2<f64>>>> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(systems.len());
        let next = AtomicUsize::new(0);
        let (send, receive) = mpsc::channel();
        let mut results: Vec<Option<Result<Vec<Array2<f64>>>>> = systems.iter().map(|_| None).collect();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let send = send.clone();
                let next = &next;
                scope.spawn(move || {
                    while let Some((i, system)) = {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        systems.get(i).map(|s| (i, s))
                    } {
                        let result = self.solve_system(system);
                        if result.is_err() {
                            // The others need not begin any more.
                            next.store(systems.len(), Ordering::Relaxed);
                        }
                        if send.send((i, result)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            for (done, (i, result)) in receive.iter().enumerate() {
                results[i] = Some(result);
                progress(done + 1, systems.len());
            }
        });
        // After a mistake the rest is missing: the mistake with the lowest number is told.
        if let Some(at) = results.iter().position(|r| matches!(r, Some(Err(_))))
            && let Some(Err(error)) = results.swap_remove(at)
        {
            return Err(error);
        }
        let missing =
            || Error::Solve { what: "a connection".into(), problem: "its thread ended early".into() };
        results.into_iter().map(|r| r.ok_or_else(missing)?).collect()
    }

    fn solve_system(&self, system: &System<'_>) -> Result<Vec<Array2<f64>>> {
        let System { what, ensemble, group, points, scale, solver, columns } = system;
        let (encoding, _) = self.encoding(*ensemble)?;
        let name = self.name(*ensemble);
        let unsolved = |problem: String| Error::Solve { what: what.to_string(), problem };
        let points = encoding.points(what, *group, *points, *scale)?;
        let activities = encoding.rates(*group, &points).ok_or_else(|| {
            let kind = encoding.neuron_type.name();
            unsolved(format!("the {kind} of '{name}' know no rates in Hz; give the weights themselves"))
        })?;
        if activities.iter().all(|a| *a == 0.0) {
            let tuned = encoding.tuned(*group);
            return Err(unsolved(format!(
                "all neurons of '{name}' are silent over its evaluation points; {tuned}"
            )));
        }
        let mut targets = Vec::with_capacity(columns.len());
        for Columns { function, dims } in columns {
            targets.push(values(what, *function, &points.select(Axis(1), dims))?);
        }
        let views: Vec<_> = targets.iter().map(|t| t.view()).collect();
        let all = concatenate(Axis(1), &views).map_err(|e| unsolved(e.to_string()))?;
        let seed = seed_of(encoding.seed, &format!("solver {group}"));
        let solution = solver.solve(what, activities.view(), all.view(), seed)?;
        let mut first = 0;
        let parts = targets.iter().map(|t| {
            let own = first..first + t.ncols();
            first = own.end;
            solution.decoders.slice(s![.., own]).t().to_owned()
        });
        Ok(parts.collect())
    }
}

/// A function's values at points, points × values; the points themselves without one.
fn values(what: &str, function: Option<&Function>, points: &Array2<f64>) -> Result<Array2<f64>> {
    let Some(function) = function else { return Ok(points.clone()) };
    let size = function.size_out(what, points.ncols())?;
    let mut all = Vec::with_capacity(points.nrows() * size);
    for row in points.rows() {
        let point = row.to_vec();
        let values = function.values(what, &point)?;
        if values.len() != size {
            let left = format!("the function of {what} at {point:?}");
            let of = |n| format!("{n} values");
            return Err(Error::shape(left, of(values.len()), "it at zeros", of(size)));
        }
        all.extend(values);
    }
    Array2::from_shape_vec((points.nrows(), size), all).map_err(|e| Error::invalid(what, e.to_string()))
}
