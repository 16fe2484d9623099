//! In what a training that goes on from a checkpoint differs from the one that stopped.

use super::Simulator;
use super::data::{Data, Signal};
use super::reports::Fit;
use crate::train::Words;

/// A sentence for each setting that is there both times and differs.
fn differences(then: &Words, now: &Words) -> Vec<String> {
    let both = then.iter().filter_map(|(what, then)| Some((what, then, now.get(what)?)));
    let differing = both.filter(|(_, then, now)| then != now);
    let sentence = |(what, then, now): (&String, &String, &String)| {
        format!("the checkpoint was trained with {what} {then}, and goes on with {now}")
    };
    differing.map(sentence).collect()
}

impl Simulator {
    /// The settings of the training in words.
    pub(super) fn settings(&self) -> Words {
        let mut words = self.compiled.as_ref().map_or_else(Words::new, |c| c.training.words());
        words.insert("minibatches of".into(), self.minibatch.to_string());
        words.insert("dt".into(), self.dt.to_string());
        words
    }

    /// In what the training that goes on differs from the one that stopped, in sentences; of the data, see
    /// [`Simulator::compare_data`].
    pub(super) fn changes_since(&self, step: u64, seed: u64, settings: &Words) -> Vec<String> {
        let mut changes = differences(settings, &self.settings());
        if seed != self.seed {
            changes.push(format!("the checkpoint's seed, {seed}, is used in place of {}", self.seed));
        }
        if self.compiled.as_ref().is_some_and(|c| c.training.schedule.at(step) == 0.0) {
            changes.push(format!(
                "the schedule's learning rate is 0 at training step {step}, where the checkpoint stands, so nothing is \
                 learned"
            ));
        }
        changes
    }

    /// Keeps in words what a fit is given, where a checkpoint needs them; compares them with those of a checkpoint that was
    /// read.
    pub(super) fn compare_data(&mut self, (inputs, targets): (&Data, &Data), steps: usize, fit: &Fit) {
        let Some(compiled) = &mut self.compiled else { return };
        let then = compiled.data_then.take();
        if then.is_none() && fit.checkpoint.is_none() {
            return;
        }
        let validation =
            fit.validation.as_ref().map_or_else(|| "0 examples".into(), |(x, y)| in_words(&[x, y]));
        compiled.data = Words::from([
            ("steps =".into(), steps.to_string()),
            ("data of".into(), in_words(&[inputs, targets])),
            ("validation data of".into(), validation),
        ]);
        if let Some(then) = then {
            self.resumed.extend(differences(&then, &compiled.data));
        }
    }
}

/// Data as their number of examples and a number that changes with them.
fn in_words(data: &[&Data]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |word: u64| {
        hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    };
    let mut examples = 0;
    for (name, signal) in data.iter().flat_map(|data| &data.signals) {
        name.bytes().for_each(|b| take(b.into()));
        let mut numbers = |shape: &[usize], values: &mut dyn Iterator<Item = &f32>| {
            examples = examples.max(shape[0]);
            shape.iter().for_each(|&n| take(n as u64));
            values.for_each(|x| take(x.to_bits().into()));
        };
        match signal {
            Signal::Held(a) => numbers(a.shape(), &mut a.iter()),
            Signal::Steps(a) => numbers(a.shape(), &mut a.iter()),
        }
    }
    let unit = if examples == 1 { "example" } else { "examples" };
    format!("{examples} {unit} (fingerprint {:08x})", hash >> 32)
}
