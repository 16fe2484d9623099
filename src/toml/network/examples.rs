//! Training settings of a network, and its examples as input and target signals.

use ndarray::{Array2, ArrayView1, Axis};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::{Error, Result};
use crate::io::dataset::Dataset;
use crate::network::{Network, Target};
use crate::sim::{Data, Signal};
use crate::toml::DataSpec;
use crate::toml::network::{NetworkSpec, NodeSpec};
use crate::toml::train::{TargetSpec, TermSpec, TrainSpec};
use crate::trainer::{Loss, Training};

impl NetworkSpec {
    /// The `[train]` table.
    ///
    /// # Errors
    /// A file without `[train]`.
    pub fn train(&self) -> Result<&TrainSpec> {
        let problem = "it is missing; it needs at least epochs, learning-rate and loss";
        self.train.as_ref().ok_or_else(|| Error::invalid("[train]", problem))
    }

    /// The node that receives the data: the `input` of `[train]`, or the only input node.
    ///
    /// # Errors
    /// A name that does not exist, no input node, or several without `[train] input`.
    pub fn input_node(&self) -> Result<&str> {
        let inputs: Vec<&str> = self.node.iter().filter(|n| n.is_input()).map(|n| n.name.as_str()).collect();
        match (self.train.as_ref().and_then(|t| t.input.as_deref()), &inputs[..]) {
            (Some(name), _) if inputs.contains(&name) => Ok(name),
            (Some(name), _) => Err(Error::unknown("input node", name, inputs)),
            (None, &[only]) => Ok(only),
            (None, []) => Err(Error::invalid("the data", "no node takes them; give one a size")),
            (None, _) => {
                let problem =
                    format!("several nodes could take them ({}); set [train] input", inputs.join(", "));
                Err(Error::invalid("the data", problem))
            }
        }
    }

    /// The training settings for `examples` examples.
    ///
    /// # Errors
    /// No `[train]`; missing settings; zero epochs; a loss without a probe if there is not exactly one probe.
    pub fn training(&self, network: &Network, examples: usize) -> Result<Training> {
        self.train()?.training(network, examples)
    }

    /// Converts examples to inputs and targets of the network.
    ///
    /// # Errors
    /// As [`NetworkSpec::input_node`] and [`NetworkSpec::training`]; a class beyond an output's dimensions; numbers that are
    /// neither one row nor one row per step.
    pub fn signals(&self, network: &Network, examples: &Dataset) -> Result<(Data, Data)> {
        let train = self.train()?;
        let input = self.input_signal(&examples.inputs)?;
        let terms = train.terms(network)?;
        self.check_targets(&terms)?;
        let mut targets = Data::new();
        for term in &terms {
            let (probe, classes) = (&term.probe, &examples.targets);
            let values = match self.target_of(term)? {
                TargetSpec::Class => classes.clone().into(),
                TargetSpec::OneHot => one_hot(network, probe, classes)?.into(),
                TargetSpec::Numbers => self.numbers(network, probe, &examples.targets)?,
                TargetSpec::Input => recorded(&input, self.every(network, probe)?),
            };
            targets = targets.with(probe, values);
        }
        for metric in train.metrics(&terms).iter().filter(|m| terms.iter().all(|t| t.probe != m.probe())) {
            let values = match self.has_numbers() {
                true => self.numbers(network, metric.probe(), &examples.targets)?,
                false => examples.targets.clone().into(),
            };
            targets = targets.with(metric.probe(), values);
        }
        Ok((Data::new().with(self.input_node()?, input), targets))
    }

    /// Converts examples to the input node's signal: their numbers at once, or spread over the node's steps.
    ///
    /// # Errors
    /// No input node, or examples without `size` numbers per step.
    pub fn input_signal(&self, examples: &Array2<f32>) -> Result<Signal> {
        let name = self.input_node()?;
        let node = self.node.iter().find(|n| n.name == name);
        let Some((size, steps)) = node.and_then(|n| Some((n.size?, n.steps?))) else {
            return Ok(examples.clone().into());
        };
        in_steps(examples, steps, size).ok_or_else(|| {
            let node = format!("node '{name}'");
            let wanted = format!("{steps} steps of {size} numbers");
            Error::shape(node, wanted, "an example of the data", format!("{} numbers", examples.ncols()))
        })
    }

    /// Random inputs between -1 and 1 for each input node, constant or with its number of steps.
    pub fn random_inputs(&self, examples: usize) -> Data {
        self.drawn_inputs(&mut self.uniform(examples))
    }

    /// A generator of examples with a given number of values between -1 and 1.
    fn uniform(&self, examples: usize) -> impl FnMut(usize) -> Array2<f32> + use<> {
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed);
        move |size| Array2::from_shape_simple_fn((examples, size), || 2.0 * rng.random::<f32>() - 1.0)
    }

    fn drawn_inputs(&self, uniform: &mut impl FnMut(usize) -> Array2<f32>) -> Data {
        let mut inputs = Data::new();
        for NodeSpec { name, size, steps, .. } in self.node.iter().filter(|n| n.is_input()) {
            let size = size.unwrap_or(1);
            let held = uniform(size.saturating_mul(steps.unwrap_or(1)));
            let values = steps.and_then(|steps| in_steps(&held, steps, size)).unwrap_or(held.into());
            inputs = inputs.with(name, values);
        }
        inputs
    }

    /// [Random inputs](NetworkSpec::random_inputs), and random targets for the losses and metrics of `[train]`; to check a
    /// network without data.
    ///
    /// # Errors
    /// As [`NetworkSpec::training`].
    pub fn random_signals(&self, network: &Network, examples: usize) -> Result<(Data, Data)> {
        let mut uniform = self.uniform(examples);
        let inputs = self.drawn_inputs(&mut uniform);
        let train = self.train()?;
        let terms = train.terms(network)?;
        self.check_targets(&terms)?;
        let mut targets = Data::new();
        for term in &terms {
            let values = uniform(output_size(network, &term.probe)?);
            let values = match self.target_of(term)? {
                TargetSpec::Class => classes(&values).into(),
                TargetSpec::OneHot | TargetSpec::Numbers => values.into(),
                TargetSpec::Input => match inputs.get(self.input_node()?) {
                    Some(input) => recorded(input, self.every(network, &term.probe)?),
                    None => values.into(),
                },
            };
            targets = targets.with(&term.probe, values);
        }
        for metric in train.metrics(&terms).iter().filter(|m| terms.iter().all(|t| t.probe != m.probe())) {
            targets = targets.with(metric.probe(), uniform(output_size(network, metric.probe())?));
        }
        Ok((inputs, targets))
    }

    /// Checks that losses on the same probe agree on its targets.
    fn check_targets(&self, terms: &[TermSpec]) -> Result<()> {
        for (i, term) in terms.iter().enumerate() {
            let Some(first) = terms[..i].iter().find(|t| t.probe == term.probe) else { continue };
            let (first, other) = (self.target_of(first)?, self.target_of(term)?);
            if first != other {
                let problem = format!(
                    "its losses have targets of two kinds, {} and {}; set the same target in each [[train.loss]], or give the second \
                     loss a probe of its own",
                    first.name(),
                    other.name()
                );
                return Err(Error::invalid(format!("probe '{}'", term.probe), problem));
            }
        }
        Ok(())
    }

    /// Steps between recorded rows of a probe.
    fn every(&self, network: &Network, probe: &str) -> Result<usize> {
        network.probes[network.find_probe(probe)?.0].steps_between(self.dt)
    }

    /// Target numbers of a probe: a constant row, or one per recorded row.
    fn numbers(&self, network: &Network, probe: &str, rows: &Array2<f32>) -> Result<Signal> {
        let (size, every) = (output_size(network, probe)?, self.every(network, probe)?);
        if rows.ncols() == size {
            return Ok(rows.clone().into());
        }
        let steps = self.train()?.steps / every;
        in_steps(rows, steps, size).ok_or_else(|| {
            let what = if every == 1 { "steps" } else { "recorded rows" };
            let wanted = format!("{size} numbers, or {steps} {what} of them");
            Error::shape(format!("probe '{probe}'"), wanted, "the targets of an example", rows.ncols())
        })
    }

    /// True if the targets of examples are numbers, not a class.
    fn has_numbers(&self) -> bool {
        self.data.as_ref().is_some_and(DataSpec::has_numbers)
    }

    /// The kind of targets of a loss.
    fn target_of(&self, term: &TermSpec) -> Result<TargetSpec> {
        use TargetSpec::{Class, Numbers, OneHot};
        let invalid =
            |problem: &str| Err(Error::invalid(format!("[[train.loss]] of probe '{}'", term.probe), problem));
        match (term.target, self.has_numbers()) {
            (Some(Class | OneHot), true) => invalid(
                "its target is a class, but [data] has numbers as targets; set target = \"numbers\" or \"input\"",
            ),
            (Some(Numbers), false) if self.data.is_some() => invalid(
                "its targets are numbers, but [data] has a class for each example; set targets = COLUMNS in [data]",
            ),
            (Some(target), _) => Ok(target),
            (None, true) => Ok(Numbers),
            (None, false) if term.loss == Loss::CrossEntropy => Ok(Class),
            (None, false) => Ok(OneHot),
        }
    }
}

/// Splits rows into `steps` steps of `size` numbers; `None` if their length differs.
fn in_steps(rows: &Array2<f32>, steps: usize, size: usize) -> Option<Signal> {
    let shape = (rows.nrows(), steps, size);
    rows.as_standard_layout().into_owned().into_shape_with_order(shape).ok().map(Signal::from)
}

/// The rows of an input at the steps that a probe records, one in `every`.
fn recorded(input: &Signal, every: usize) -> Signal {
    match input {
        Signal::Steps(a) if every > 1 => {
            let rows = ndarray::Slice::new((every - 1) as isize, None, every as isize);
            Signal::Steps(a.slice_axis(Axis(1), rows).to_owned())
        }
        other => other.clone(),
    }
}

/// Index of the largest element of each row.
fn classes(rows: &Array2<f32>) -> Array2<f32> {
    let largest = |row: ArrayView1<'_, f32>| {
        let place = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        place.map_or(0.0, |(i, _)| i as f32)
    };
    rows.map_axis(Axis(1), largest).insert_axis(Axis(1))
}

fn output_size(network: &Network, probe: &str) -> Result<usize> {
    let id = network.find_probe(probe)?;
    match network.probe_target(id) {
        Some(Target::Output(..) | Target::Input(_)) => Ok(network.probe_size(id).unwrap_or_default()),
        _ => {
            let problem = "a loss compares the output or input of an object; a state, a parameter or a signal of a learning \
                           rule has no targets";
            Err(Error::invalid(format!("probe '{probe}'"), problem))
        }
    }
}

/// Rows with 1 at the class of each example; NaN if its class does not count.
fn one_hot(network: &Network, probe: &str, classes: &Array2<f32>) -> Result<Array2<f32>> {
    let size = output_size(network, probe)?;
    let mut rows = Array2::zeros((classes.nrows(), size));
    for (mut row, &class) in rows.rows_mut().into_iter().zip(classes) {
        if class.is_nan() {
            row.fill(f32::NAN);
            continue;
        }
        let problem = || format!("they contain the class {class}, but it has {size} dimensions");
        *row.get_mut(class as usize)
            .ok_or_else(|| Error::invalid(format!("the targets of probe '{probe}'"), problem()))? = 1.0;
    }
    Ok(rows)
}
