//! Targets: which of them count, and how they meet the outputs of probes.
//!
//! A target of NaN does not count: it adds nothing to a loss or a metric, which is the mean over those that count. Of a probe
//! that samples, the rows that it records are compared, and targets have a row for each of them.

use std::collections::HashSet;

use ndarray::ArrayView2;

use crate::builder::{Counted, Feed};
use crate::error::{Error, Result};
use crate::graph::{Extent, Scope, Source, Tensor, Type};
use crate::network::ProbeId;
use crate::sim::core::Core;
use crate::sim::data::{Data, Signal, agree, all_signals};
use crate::sim::targets::{counted, targets_of};
use crate::sim::window_input::WindowInput;
use crate::trainer::key::{TargetKey, TrainKey};
use crate::trainer::{Over, Training};

/// What a loss or a metric compares.
pub(crate) struct Compared<'s> {
    pub output: Tensor<'s>,
    pub target: Tensor<'s>,
    /// What of the run its value sees, where the run is cut into windows.
    pub over: Over,
    /// What the mean over all is multiplied by to be that over those that count.
    pub factor: Option<Tensor<'s>>,
}

/// The feeds of a graph's targets, as they are asked for.
pub(crate) struct Targets<'a, 's> {
    pub core: &'a Core,
    pub scope: &'s Scope,
    pub key: &'a TrainKey,
    pub feeds: &'a mut Vec<Feed>,
    made: Vec<(Feed, Tensor<'s>)>,
}

impl<'a, 's> Targets<'a, 's> {
    pub fn new(core: &'a Core, scope: &'s Scope, key: &'a TrainKey, feeds: &'a mut Vec<Feed>) -> Self {
        Self { core, scope, key, feeds, made: Vec::new() }
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
            let probe = self.core.network.find_probe(&of.name)?;
            let spread = self.core.sample_every(probe) > 1;
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
        let probe = self.core.network.find_probe(name)?;
        let key = self.key;
        let of = key.targets.iter().find(|t| t.name == name).ok_or_else(|| {
            Error::invalid(format!("probe '{name}'"), "it has no targets; give them to the training")
        })?;
        self.scope.set_owner(name);
        let every = self.core.sample_every(probe);
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

/// Steps from one row to the next of the probe with this name.
fn every(core: &Core, name: &str) -> Result<usize> {
    Ok(core.sample_every(core.network.find_probe(name)?))
}

/// Examples and steps of inputs and targets, if all agree on them, and on `asked` steps. Of a probe that samples, targets
/// have a row for each that is recorded.
pub(crate) fn size_of(
    core: &Core,
    inputs: &Data,
    targets: &Data,
    asked: Option<usize>,
) -> Result<(Option<usize>, Option<usize>)> {
    let mut sampled = Vec::new();
    for (name, signal) in &targets.signals {
        if let (every @ 2.., Some(rows)) = (every(core, name)?, signal.steps()) {
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
pub(crate) fn target_key(core: &Core, targets: &Data, steps: usize) -> Result<Vec<TargetKey>> {
    let mut key = Vec::new();
    for (name, signal) in &targets.signals {
        let every = every(core, name)?;
        if every > steps {
            let problem = format!("it records a row in {every} steps, and a run of {steps} steps has none");
            return Err(Error::invalid(format!("probe '{name}'"), problem));
        }
        let finite = signal.check(&format!("the targets of probe '{name}'"), signal.size(), true)?;
        let (name, held, cols) = (name.clone(), signal.steps().is_none(), signal.size());
        key.push(TargetKey { name, held, cols, gaps: !finite });
    }
    Ok(key)
}

/// The examples that each number of a minibatch's report is the mean of, of a run that `from` is a window of.
pub(crate) fn target_weights(
    training: &Training,
    core: &Core,
    key: &TrainKey,
    from: &WindowInput<'_>,
) -> Result<Vec<f64>> {
    let examples = from.batch.len() as f64;
    let mut weights = vec![examples; training.scalars()];
    for (i, of) in with_gaps(training, core, key)? {
        weights[i] = examples * counted(core, of, from)?.0;
    }
    Ok(weights)
}

/// The numbers of a report that are means over targets of which some do not count.
fn with_gaps(training: &Training, core: &Core, key: &TrainKey) -> Result<Vec<(usize, Counted)>> {
    let gaps: HashSet<&str> = key.targets.iter().filter(|t| t.gaps).map(|t| t.name.as_str()).collect();
    let by_row = |loss| matches!(loss, crate::trainer::Loss::CrossEntropy);
    let terms = training.objective.terms.iter().map(|t| (t.probe.as_str(), t.over, by_row(t.loss)));
    let over = |probe| training.objective.over_of(probe);
    let metrics = training.metrics.iter().map(|m| (m.probe(), over(m.probe()), m.name() == "accuracy"));
    let scalars = training.scalars();
    let places = (0..terms.len()).chain(scalars - training.metrics.len()..scalars);
    let all = places.zip(terms.chain(metrics));
    let some = all.filter(|(_, (name, ..))| gaps.contains(name));
    some.map(|(i, (name, over, by_row))| {
        let probe = core.network.find_probe(name)?.0;
        Ok((i, Counted { probe, last: over == Over::Last, by_row, spread: false }))
    })
    .collect()
}

/// Refuses targets of which none counts for a loss or a metric.
pub(crate) fn check_counted(training: &Training, core: &Core, targets: &Data, key: &TrainKey) -> Result<()> {
    for (_, of) in with_gaps(training, core, key)? {
        let some = |rows: ArrayView2<'_, f32>| rows.iter().any(|x| !x.is_nan());
        let counts = match targets_of(core, targets, of.probe)? {
            Signal::Held(a) => some(a.view()),
            Signal::Steps(a) => a.outer_iter().any(|rows| {
                let first = if of.last { rows.nrows().saturating_sub(1) } else { 0 };
                some(rows.slice(ndarray::s![first.., ..]))
            }),
        };
        if !counts {
            let what = format!("the targets of probe '{}'", core.network.probe_name(ProbeId(of.probe)));
            let rows = if of.last { " of the last steps" } else { "" };
            return Err(Error::invalid(what, format!("none of them counts: all{rows} are NaN")));
        }
    }
    Ok(())
}
