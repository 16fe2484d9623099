//! Targets of probes: their checks, their feeds, and the comparison with outputs.
//!
//! A target of NaN does not count: losses and metrics are means over the targets that count. For a probe that samples, the
//! recorded rows are compared, and targets have one row for each of them.

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
use crate::trainer::{Loss, Over, Training};

/// Operands of a loss or a metric.
pub(crate) struct Compared<'s> {
    pub output: Tensor<'s>,
    pub target: Tensor<'s>,
    /// Steps of the run that its value covers, for runs in windows.
    pub over: Over,
    /// Factor from the mean over all targets to the mean over those that count.
    pub factor: Option<Tensor<'s>>,
}

/// Feeds of a graph's targets, created on first use.
pub(crate) struct Targets<'a, 's> {
    core: &'a Core,
    scope: &'s Scope,
    key: &'a TrainKey,
    feeds: &'a mut Vec<Feed>,
    made: Vec<(Feed, Tensor<'s>)>,
}

impl<'a, 's> Targets<'a, 's> {
    pub fn new(core: &'a Core, scope: &'s Scope, key: &'a TrainKey, feeds: &'a mut Vec<Feed>) -> Self {
        Self { core, scope, key, feeds, made: Vec::new() }
    }

    /// The source of a feed, of this type; created on first use.
    pub fn feed(&mut self, feed: Feed, ty: Type) -> Tensor<'s> {
        if let Some((_, tensor)) = self.made.iter().find(|(f, _)| *f == feed) {
            return *tensor;
        }
        self.feeds.push(feed);
        let tensor = self.scope.source(ty, Source::Feed(self.feeds.len() - 1));
        self.made.push((feed, tensor));
        tensor
    }

    /// Targets by probe, each row at the step that it is for.
    pub fn all(&mut self) -> Result<Vec<(String, Tensor<'s>)>> {
        let key = self.key;
        let named = |of: &TargetKey| {
            let probe = self.core.network.find_probe(&of.name)?;
            let spread = self.core.sample_every(probe) > 1;
            Ok((of.name.clone(), self.target(of, probe, spread.then_some(false))))
        };
        key.targets.iter().map(named).collect()
    }

    /// Targets of a probe; with `spread` at the steps that the probe records, of all rows or (true) the last.
    fn target(&mut self, of: &TargetKey, probe: ProbeId, spread: Option<bool>) -> Tensor<'s> {
        match spread {
            Some(last) => self.feed(Feed::Spread(probe.0, last), Type::sequence(of.cols)),
            None if of.held => self.feed(Feed::Target(probe.0), Type::example(of.cols)),
            None => self.feed(Feed::Target(probe.0), Type::sequence(of.cols)),
        }
    }

    /// Operands of a loss or metric on a probe. With `by_row` its mean is over rows, else over elements.
    pub fn compared(
        &mut self,
        name: &str,
        output: Tensor<'s>,
        over: Over,
        by_row: bool,
    ) -> Result<Compared<'s>> {
        let probe = self.core.network.find_probe(name)?;
        let key = self.key;
        let found = key.targets.iter().find(|t| t.name == name).ok_or_else(|| {
            Error::invalid(format!("probe '{name}'"), "it has no targets; give them to the training")
        })?;
        self.scope.set_owner(name);
        let every = self.core.sample_every(probe);
        // One row for each example and the whole run, or recorded rows at their steps.
        let spread = (every > 1 && !over.whole()).then_some(over == Over::Last);
        let target = self.target(found, probe, spread);
        check_target(name, output, target, by_row)?;
        let factor = (found.gaps || spread.is_some()).then(|| {
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

/// Returns an error if an output and its target cannot be compared.
fn check_target(probe: &str, output: Tensor<'_>, target: Tensor<'_>, class: bool) -> Result<()> {
    let (out, want) = (output.ty(), target.ty());
    let fits = out.cols == want.cols || (class && want.cols == 1);
    if fits && !(out.extent == Extent::Fixed && out.rows > 1) {
        return Ok(());
    }
    Err(Error::shape(format!("the output of probe '{probe}'"), out, "its targets", want))
}

/// Sampling interval of the probe `name`, in steps.
fn every(core: &Core, name: &str) -> Result<usize> {
    Ok(core.sample_every(core.network.find_probe(name)?))
}

/// Numbers of examples and steps of inputs and targets; an error if they differ, or differ from `asked` steps. Targets of a
/// probe that samples have one row for each recorded row.
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

/// Keys of the targets for runs of `steps` steps.
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

/// For each scalar of a minibatch's report, the number of examples that it is the mean of. `input` is a window of the run.
pub(crate) fn target_weights(
    training: &Training,
    core: &Core,
    key: &TrainKey,
    input: &WindowInput<'_>,
) -> Result<Vec<f64>> {
    let examples = input.batch.len() as f64;
    let mut weights = vec![examples; training.scalars()];
    for (i, of) in with_gaps(training, core, key)? {
        weights[i] = examples * counted(core, of, input)?.0;
    }
    Ok(weights)
}

/// Scalars of a report whose targets do not all count, by number.
fn with_gaps(training: &Training, core: &Core, key: &TrainKey) -> Result<Vec<(usize, Counted)>> {
    let gaps: HashSet<&str> = key.targets.iter().filter(|t| t.gaps).map(|t| t.name.as_str()).collect();
    let by_row = |loss| matches!(loss, Loss::CrossEntropy);
    let terms = training.objective.terms.iter().map(|t| (t.probe.as_str(), t.over, by_row(t.loss)));
    let over = |probe| training.objective.over_of(probe);
    let metrics = training.metrics.iter().map(|m| (m.probe(), over(m.probe()), m.name() == "accuracy"));
    let scalars = training.scalars();
    let places = (0..terms.len()).chain(scalars - training.metrics.len()..scalars);
    let keyed = places.zip(terms.chain(metrics));
    let with_gaps = keyed.filter(|(_, (name, ..))| gaps.contains(name));
    with_gaps
        .map(|(i, (name, over, by_row))| {
            let probe = core.network.find_probe(name)?.0;
            Ok((i, Counted { probe, last: over == Over::Last, by_row, spread: false }))
        })
        .collect()
}

/// Returns an error if none of the targets of a loss or a metric counts.
pub(crate) fn check_counted(training: &Training, core: &Core, targets: &Data, key: &TrainKey) -> Result<()> {
    for (_, of) in with_gaps(training, core, key)? {
        let any_counts = |rows: ArrayView2<'_, f32>| rows.iter().any(|x| !x.is_nan());
        let counts = match targets_of(core, targets, of.probe)? {
            Signal::Held(a) => any_counts(a.view()),
            Signal::Steps(a) => a.outer_iter().any(|rows| {
                let first = if of.last { rows.nrows().saturating_sub(1) } else { 0 };
                any_counts(rows.slice(ndarray::s![first.., ..]))
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

/// Returns an error for class indices that are not whole numbers below the number of outputs.
pub(crate) fn check_classes(training: &Training, core: &Core, targets: &Data, key: &TrainKey) -> Result<()> {
    for term in &training.objective.terms {
        let of_class = term.loss == Loss::CrossEntropy;
        let indices = key.targets.iter().any(|t| t.name == term.probe && t.cols == 1);
        let probe = core.network.find_probe(&term.probe)?;
        let Some(classes) = core.network.probe_size(probe) else { continue };
        if let Some(signal) = targets.get(&term.probe).filter(|_| of_class && indices && classes > 1) {
            let wrong = |x: &f32| !x.is_nan() && (x.fract() != 0.0 || *x < 0.0 || *x >= classes as f32);
            let bad = match signal {
                Signal::Held(a) => a.iter().copied().find(|x| wrong(x)),
                Signal::Steps(a) => a.iter().copied().find(|x| wrong(x)),
            };
            if let Some(bad) = bad {
                let problem = format!("they hold the class {bad}, but its classes are 0 to {}", classes - 1);
                return Err(Error::invalid(format!("the targets of probe '{}'", term.probe), problem));
            }
        }
    }
    Ok(())
}
