//! Differences between a training and the checkpoint that it continues, as warnings.

use crate::network::Kind;
use crate::sim::core::Core;
use crate::sim::data::{Data, Signal};
use crate::trainer::compiled::Trainer;
use crate::trainer::reports::Fit;
use crate::trainer::{Words, written};

/// A sentence for each setting in both whose values differ.
fn differences(then: &Words, now: &Words) -> Vec<String> {
    let both = then.iter().filter_map(|(what, then)| Some((what, then, now.get(what)?)));
    let differing = both.filter(|(_, then, now)| then != now);
    let sentence = |(what, then, now): (&String, &String, &String)| {
        format!("the checkpoint was trained with {what} {then}, and goes on with {now}")
    };
    differing.map(sentence).collect()
}

impl Trainer {
    /// Settings of the training as text.
    pub(crate) fn settings(&self, core: &Core) -> Words {
        let mut words = self.training.words();
        words.insert("minibatches of".into(), core.minibatch.to_string());
        words.insert("dt".into(), core.dt.to_string());
        words
    }

    /// Differences in settings, seed and schedule from a checkpoint, one sentence each.
    pub(crate) fn changes_since(&self, core: &Core, step: u64, seed: u64, settings: &Words) -> Vec<String> {
        let mut changes = differences(settings, &self.settings(core));
        if seed != core.seed {
            changes.push(format!("the checkpoint's seed, {seed}, is used in place of {}", core.seed));
        }
        if self.training.schedule.at(step) == 0.0 {
            changes.push(format!(
                "the schedule's learning rate is 0 at training step {step}, where the checkpoint ends, so nothing is learned"
            ));
        }
        changes
    }

    /// Describes the data of a fit as text, if it writes or continues a checkpoint, and notes differences from the loaded
    /// checkpoint.
    pub(crate) fn compare_data(&mut self, (inputs, targets): (&Data, &Data), steps: usize, fit: &Fit) {
        let then = self.data_then.take();
        if then.is_none() && fit.checkpoint.is_none() {
            return;
        }
        let validation =
            fit.validation.as_ref().map_or_else(|| "0 examples".into(), |(x, y)| in_words(&[x, y]));
        self.data = Words::from([
            ("steps =".into(), steps.to_string()),
            ("data of".into(), in_words(&[inputs, targets])),
            ("validation data of".into(), validation),
            (
                "early-stopping =".into(),
                fit.early_stopping.map_or_else(|| "none".into(), |early| written(&early)),
            ),
        ]);
        if let Some(then) = then {
            self.resumed.extend(differences(&then, &self.data));
        }
    }
}

/// Description of data: their number of examples and a fingerprint.
fn in_words(data: &[&Data]) -> String {
    let signals = || data.iter().flat_map(|data| &data.signals);
    let words = signals().flat_map(|(name, signal)| {
        let (shape, values): (&[usize], Box<dyn Iterator<Item = &f32>>) = match signal {
            Signal::Held(a) => (a.shape(), Box::new(a.iter())),
            Signal::Steps(a) => (a.shape(), Box::new(a.iter())),
        };
        let sizes = shape.iter().map(|&n| n as u64);
        name.bytes().map(u64::from).chain(sizes).chain(values.map(|x| x.to_bits().into()))
    });
    let examples = signals().map(|(_, signal)| signal.examples()).max().unwrap_or(0);
    let unit = if examples == 1 { "example" } else { "examples" };
    format!("{examples} {unit} (fingerprint {})", fingerprint(words))
}

/// Hash of `words` in hexadecimal digits.
fn fingerprint(words: impl Iterator<Item = u64>) -> String {
    let hash = words.fold(0xcbf2_9ce4_8422_2325_u64, |hash, word| {
        let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 32)
    });
    format!("{:08x}", hash >> 32)
}

/// Fingerprint of the settings of each object, connection and probe, apart from parameters.
pub(crate) fn network_in_words(core: &Core) -> Words {
    let network = &core.network;
    let objects = network.objects.iter().map(|o| {
        let kind = match &o.kind {
            Kind::Layer(layer) => format!("{:?} {}", layer.activation, layer.dropout),
            Kind::Node(node) => format!("{node:?}"),
            _ => String::new(),
        };
        let neurons = o.population.as_ref().map(|p| (&p.neuron_type, p.scale));
        (format!("'{}'", o.name), format!("{kind} {neurons:?}"))
    });
    let links =
        network.links.iter().map(|l| (format!("connection '{}'", l.name), format!("{:?}", l.spec.synapse)));
    let probes = network.probes.iter().map(|p| {
        let set = format!("{:?} {:?} {:?}", p.target, p.every, p.slice);
        (format!("probe '{}'", p.name), set)
    });
    let settings = objects.chain(links).chain(probes);
    settings.map(|(what, set)| (what, fingerprint(set.bytes().map(u64::from)))).collect()
}

/// Differences of objects, connections and probes from the network of a checkpoint, one sentence each.
pub(crate) fn network_changes(core: &Core, then: &Words) -> Vec<String> {
    if then.is_empty() {
        return Vec::new();
    }
    let now = network_in_words(core);
    let other = |(what, set): (&String, &String)| match then.get(what) {
        None => Some(format!("{what} was not there when the checkpoint was trained")),
        Some(before) if before != set => {
            Some(format!("{what} is set otherwise than when the checkpoint was trained"))
        }
        Some(_) => None,
    };
    let gone = then.keys().filter(|what| !now.contains_key(*what));
    let gone = gone.map(|what| format!("{what} was there when the checkpoint was trained, and is no longer"));
    now.iter().filter_map(other).chain(gone).collect()
}
