//! Targets: which of them count, and how they meet the outputs of probes.
//!
//! A target of NaN does not count: it adds nothing to a loss or a metric, which is the mean over those that count. Of a probe
//! that samples, the rows that it records are compared, and targets have a row for each of them.

use std::collections::HashSet;

use ndarray::ArrayView2;

use super::Simulator;
use super::data::{Data, Signal, agree, all_signals};
use super::feeds::Rows;
use super::train::{Compiled, TrainKey};
use crate::build::{Counted, Feed};
use crate::error::{Error, Result};
use crate::graph::{Dims, Extent, Scope, Source, Tensor, Type};
use crate::network::ProbeId;
use crate::train::Over;

/// What distinguishes training programs by a probe's targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TargetKey {
    pub name: String,
    /// One row an example, and none for each step.
    pub held: bool,
    pub cols: usize,
    /// Some are NaN.
    pub gaps: bool,
}

/// What a loss or a metric compares.
pub(super) struct Compared<'s> {
    pub output: Tensor<'s>,
    pub target: Tensor<'s>,
    /// What of the run its value sees, where the run is cut into windows.
    pub over: Over,
    /// What the mean over all is multiplied by to be that over those that count.
    pub factor: Option<Tensor<'s>>,
}

/// The feeds of a graph's targets, as they are asked for.
pub(super) struct Targets<'a, 's> {
    pub sim: &'a Simulator,
    pub scope: &'s Scope,
    pub key: &'a TrainKey,
    pub feeds: &'a mut Vec<Feed>,
    made: Vec<(Feed, Tensor<'s>)>,
}

impl<'a, 's> Targets<'a, 's> {
    pub fn new(sim: &'a Simulator, scope: &'s Scope, key: &'a TrainKey, feeds: &'a mut Vec<Feed>) -> Self {
        Self { sim, scope, key, feeds, made: Vec::new() }
    }

    /// A feed of this type; made on first use.
    pub fn feed(&mut self, feed: Feed, ty: Type) -> Tensor<'s> {
        if let Some((_, tensor)) = self.made.iter().find(|(f, _)| *f == feed) {
            return *tensor;
        }
        self.feeds.push(feed);
        let tensor = self.scope.source(ty, Source::Feed(self.feeds.len() - 1));
        self.made.push((feed, tensor));
        tensor
    }

    /// The targets of each probe that has some, at the steps that they are for.
    pub fn all(&mut self) -> Result<Vec<(String, Tensor<'s>)>> {
        let key = self.key;
        let one = |of: &TargetKey| {
            let probe = self.sim.network.find_probe(&of.name)?;
            let spread = self.sim.sample_every(probe) > 1;
            Ok((of.name.clone(), self.target(of, probe, spread.then_some(false))))
        };
        key.targets.iter().map(one).collect()
    }

    /// The targets of a probe, or spread over the steps of the run, of which the last alone or all count.
    fn target(&mut self, of: &TargetKey, probe: ProbeId, spread: Option<bool>) -> Tensor<'s> {
        match spread {
            Some(last) => self.feed(Feed::Spread(probe.0, last), Type::sequence(of.cols)),
            None if of.held => self.feed(Feed::Target(probe.0), Type::example(of.cols)),
            None => self.feed(Feed::Target(probe.0), Type::sequence(of.cols)),
        }
    }

    /// What a loss or metric on a probe compares; `by_row` if its mean is over rows, and not over all elements.
    pub fn compared(
        &mut self,
        name: &str,
        output: Tensor<'s>,
        over: Over,
        by_row: bool,
    ) -> Result<Compared<'s>> {
        let probe = self.sim.network.find_probe(name)?;
        let key = self.key;
        let of = key.targets.iter().find(|t| t.name == name).ok_or_else(|| {
            Error::invalid(format!("probe '{name}'"), "it has no targets; give them to the training")
        })?;
        self.scope.set_owner(name);
        let every = self.sim.sample_every(probe);
        // One row an example that is compared with the whole run, or the rows that are recorded at their steps.
        let spread = (every > 1 && !over.whole()).then_some(over == Over::Last);
        let target = self.target(of, probe, spread);
        check_target(name, output, target, by_row)?;
        let factor = (of.gaps || spread.is_some()).then(|| {
            let (last, spread) = (over == Over::Last, spread.is_some());
            let counted = Counted { probe: probe.0, last, by_row, spread };
            self.feed(Feed::Counted(counted), Type::fixed(1, 1))
        });
        if spread.is_some() {
            return Ok(Compared { output, target, over: Over::Every, factor });
        }
        let target = over.of_target(name, target)?;
        if every == 1 {
            return Ok(Compared { output: over.of(output), target, over, factor });
        }
        let recorded = self.feed(Feed::Recorded(every), Type::sequence(1));
        let sum = (output * recorded).reduce_to(Type::example(output.ty().cols));
        let rows = (self.key.dims.steps / every).max(1);
        let output = if over == Over::Mean { sum.scale(1.0 / rows as f32) } else { sum };
        Ok(Compared { output, target, over, factor })
    }
}

fn check_target(probe: &str, output: Tensor<'_>, target: Tensor<'_>, class: bool) -> Result<()> {
    let (out, want) = (output.ty(), target.ty());
    let fits = out.cols == want.cols || (class && want.cols == 1);
    if fits && !(out.extent == Extent::Fixed && out.rows > 1) {
        return Ok(());
    }
    Err(Error::shape(format!("the output of probe '{probe}'"), out, "its targets", want))
}

impl Simulator {
    /// Steps from one row to the next of the probe with this name.
    fn every(&self, name: &str) -> Result<usize> {
        Ok(self.sample_every(self.network.find_probe(name)?))
    }

    /// Examples and steps of inputs and targets, if all agree on them, and on `asked` steps. Of a probe that samples, targets
    /// have a row for each that is recorded.
    pub(super) fn size_of(
        &self,
        inputs: &Data,
        targets: &Data,
        asked: Option<usize>,
    ) -> Result<(Option<usize>, Option<usize>)> {
        let mut sampled = Vec::new();
        for (name, signal) in &targets.signals {
            if let (every @ 2.., Some(rows)) = (self.every(name)?, signal.steps()) {
                sampled.push((name.as_str(), every, rows));
            }
        }
        let examples = agree(all_signals(&[inputs, targets]), "examples", |s| Some(s.examples()))?;
        let each_step = |name: &str| !sampled.iter().any(|(of, ..)| *of == name);
        let of_targets = all_signals(&[targets]).filter(|(name, _)| each_step(name));
        let steps = agree(all_signals(&[inputs]).chain(of_targets), "steps", Signal::steps)?;
        if let (Some(data), Some(asked)) = (steps, asked.filter(|asked| Some(*asked) != steps)) {
            let (data, asked) = (format!("{data} steps"), format!("{asked} steps"));
            return Err(Error::shape("the data", data, "the run", asked));
        }
        let steps = steps.or(asked).or(sampled.first().map(|(_, every, rows)| every * rows));
        for (name, every, rows) in sampled {
            let run = steps.unwrap_or(1);
            if rows != run / every {
                let recorded = format!("{} rows", run / every);
                let what = format!("what it records of {run} steps, one row in {every},");
                let targets = format!("what probe '{name}' is given as targets");
                return Err(Error::shape(targets, format!("{rows} rows"), what, recorded));
            }
        }
        Ok((examples, steps))
    }

    /// The key of the targets in `targets`, for runs of `steps` steps.
    pub(super) fn target_key(&self, targets: &Data, steps: usize) -> Result<Vec<TargetKey>> {
        let mut key = Vec::new();
        for (name, signal) in &targets.signals {
            let every = self.every(name)?;
            if every > steps {
                let problem =
                    format!("it records a row in {every} steps, and a run of {steps} steps has none");
                return Err(Error::invalid(format!("probe '{name}'"), problem));
            }
            let finite = signal.check(&format!("the targets of probe '{name}'"), signal.size(), true)?;
            let (name, held, cols) = (name.clone(), signal.steps().is_none(), signal.size());
            key.push(TargetKey { name, held, cols, gaps: !finite });
        }
        Ok(key)
    }

    /// The targets of a probe.
    pub(super) fn targets_of<'d>(&self, targets: &'d Data, probe: usize) -> Result<&'d Signal> {
        let name = self.network.probe_name(ProbeId(probe));
        let missing = || Error::invalid(format!("probe '{name}'"), "it has no targets");
        targets.get(name).ok_or_else(missing)
    }

    /// The examples that each number of a minibatch's report is the mean of, of a run that `from` is a window of.
    pub(super) fn target_weights(
        &self,
        key: &TrainKey,
        compiled: &Compiled,
        from: &Rows<'_>,
    ) -> Result<Vec<f64>> {
        let examples = from.batch.len() as f64;
        let mut weights = vec![examples; compiled.scalars()];
        for (i, of) in self.with_gaps(key, compiled)? {
            weights[i] = examples * self.counted(of, from)?.0;
        }
        Ok(weights)
    }

    /// The numbers of a report that are means over targets of which some do not count.
    fn with_gaps(&self, key: &TrainKey, compiled: &Compiled) -> Result<Vec<(usize, Counted)>> {
        let gaps: HashSet<&str> = key.targets.iter().filter(|t| t.gaps).map(|t| t.name.as_str()).collect();
        let training = &compiled.training;
        let by_row = |loss| matches!(loss, crate::train::Loss::CrossEntropy);
        let terms = training.objective.terms.iter().map(|t| (t.probe.as_str(), t.over, by_row(t.loss)));
        let over = |probe| training.objective.over_of(probe);
        let metrics = training.metrics.iter().map(|m| (m.probe(), over(m.probe()), m.name() == "accuracy"));
        let scalars = compiled.scalars();
        let places = (0..terms.len()).chain(scalars - training.metrics.len()..scalars);
        let all = places.zip(terms.chain(metrics));
        let some = all.filter(|(_, (name, ..))| gaps.contains(name));
        some.map(|(i, (name, over, by_row))| {
            let probe = self.network.find_probe(name)?.0;
            Ok((i, Counted { probe, last: over == Over::Last, by_row, spread: false }))
        })
        .collect()
    }

    /// Refuses targets of which none counts for a loss or a metric.
    pub(super) fn check_counted(&self, targets: &Data, key: &TrainKey) -> Result<()> {
        let Some(compiled) = &self.compiled else { return Ok(()) };
        for (_, of) in self.with_gaps(key, compiled)? {
            let some = |rows: ArrayView2<'_, f32>| rows.iter().any(|x| !x.is_nan());
            let counts = match self.targets_of(targets, of.probe)? {
                Signal::Held(a) => some(a.view()),
                Signal::Steps(a) => a.outer_iter().any(|rows| {
                    let first = if of.last { rows.nrows().saturating_sub(1) } else { 0 };
                    some(rows.slice(ndarray::s![first.., ..]))
                }),
            };
            if !counts {
                let what = format!("the targets of probe '{}'", self.network.probe_name(ProbeId(of.probe)));
                let rows = if of.last { " of the last steps" } else { "" };
                return Err(Error::invalid(what, format!("none of them counts: all{rows} are NaN")));
            }
        }
        Ok(())
    }

    /// How many of a minibatch's targets count, as a share of all; and the factor that makes the mean over all that over them.
    pub(super) fn counted(&self, of: Counted, from: &Rows<'_>) -> Result<(f64, f64)> {
        let signal = self.targets_of(from.targets, of.probe)?;
        let every = self.sample_every(ProbeId(of.probe));
        let counted = |row: ndarray::ArrayView1<'_, f32>| {
            let n = row.iter().filter(|x| !x.is_nan()).count();
            if of.by_row { n.min(1) } else { n }
        };
        let (mut count, mut rows) = (0, 0);
        for &example in from.batch {
            match signal {
                Signal::Held(a) => (count, rows) = (count + counted(a.row(example)), rows + 1),
                Signal::Steps(a) => {
                    let all = a.index_axis(ndarray::Axis(0), example);
                    let first = if of.last { all.nrows().saturating_sub(1) } else { 0 };
                    (first..all.nrows()).for_each(|t| count += counted(all.row(t)));
                    rows += all.nrows() - first;
                }
            }
        }
        let share = count as f64 / (rows * if of.by_row { 1 } else { signal.size() }).max(1) as f64;
        // Of a run's steps those that have a row.
        let seen = match of.spread {
            true => (if of.last { 1 } else { from.run / every }) as f64 / from.run as f64,
            false => 1.0,
        };
        Ok((share, if count == 0 { 0.0 } else { 1.0 / (share * seen) }))
    }
}

impl Signal {
    /// Writes rows of [`Feed::Spread`] for a window that starts at step `first` of a run of `run` steps: a row at each step
    /// that a probe records, one in `every`, and NaN at the others; or at the last of these alone.
    pub(super) fn spread(
        &self,
        (batch, every, last): (&[usize], usize, bool),
        (first, run): (usize, usize),
        dims: Dims,
        to: &mut [f32],
    ) {
        to.fill(f32::NAN);
        let size = self.size();
        for (r, to) in to.chunks_exact_mut(size).take(dims.batch * dims.steps).enumerate() {
            let (done, example) = (first + r / dims.batch + 1, batch[r % dims.batch]);
            let row = done / every;
            if done % every != 0 || (last && row != run / every) {
                continue;
            }
            let from = match self {
                Signal::Held(a) => a.row(example),
                Signal::Steps(a) => a.slice(ndarray::s![example, row - 1, ..]),
            };
            to.iter_mut().zip(from).for_each(|(to, x)| *to = *x);
        }
    }
}
