//! A training's settings as text, to compare a training with the checkpoint that it continues.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::trainer::{Over, Penalty, Training};

/// Settings as text, by their name in messages.
pub(crate) type Words = BTreeMap<String, String>;

/// A value in the file format.
pub(crate) fn written(value: &impl Serialize) -> String {
    plain(value).map_or_else(|| "none".into(), |value| write(&value))
}

/// A kind with settings in the file format: `{ kind = "sgd", momentum = 0.9 }`.
pub(crate) fn written_kind(value: &impl Serialize) -> String {
    plain(value).map_or_else(|| "none".into(), |value| write(&with_kind(value)))
}

/// An object whose only key is the kind, with the kind moved into its settings.
fn with_kind(value: Value) -> Value {
    match value {
        Value::Object(table) if table.len() == 1 && table.values().all(Value::is_object) => {
            let mut kinds = table.into_iter().map(|(kind, settings)| {
                let Value::Object(mut settings) = settings else { return settings };
                settings.insert("kind".into(), kind.into());
                settings.into()
            });
            kinds.next().unwrap_or_default()
        }
        other => other,
    }
}

/// A value as JSON. It goes through text, so that 32-bit numbers keep their short form.
fn plain(value: &impl Serialize) -> Option<Value> {
    serde_json::to_string(value).ok().and_then(|text| serde_json::from_str(&text).ok())
}

fn write(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Array(list) => format!("[{}]", list.iter().map(write).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let kind = table.iter().filter(|(key, _)| *key == "kind");
            let pairs = kind.chain(table.iter().filter(|(key, _)| *key != "kind"));
            let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key} = {}", write(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// Adds a setting; one with a kind and settings of its own as one entry each.
fn put(words: &mut Words, what: &str, value: &impl Serialize) {
    match plain(value).map(with_kind) {
        Some(Value::Object(table)) if table.contains_key("kind") => {
            for (key, value) in &table {
                let name = if key == "kind" { what.into() } else { format!("{what}'s {key}") };
                words.insert(name, write(value));
            }
        }
        value => {
            words.insert(what.into(), value.as_ref().map_or_else(|| "none".into(), write));
        }
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

fn strength(penalty: &Penalty) -> String {
    format!("{} = {}", penalty.name(), penalty.strength())
}

impl Training {
    /// Settings that affect the parameters or the metrics.
    pub(crate) fn words(&self) -> Words {
        let mut words = Words::new();
        let objective = &self.objective;
        let losses = objective.terms.iter().map(|term| {
            let weight =
                if term.weight == 1.0 { String::new() } else { format!(", weight = {}", term.weight) };
            let over = if term.over == Over::Every { "" } else { term.over.name() };
            let over = if over.is_empty() { String::new() } else { format!(", over = \"{over}\"") };
            format!("{} on probe '{}'{weight}{over}", written(&term.loss), term.probe)
        });
        let custom = objective.custom.iter().map(|part| format!("'{}'", part.name));
        words.insert("the loss".into(), list(losses.chain(custom)));
        let activities = objective.activities.iter().map(|(p, x)| format!("{} on probe '{p}'", strength(x)));
        words.insert("the activity penalty".into(), list(activities));
        let penalties = self.penalties.iter().map(|(on, penalty)| format!("{} on {on}", strength(penalty)));
        words.insert("the penalty".into(), list(penalties));
        let groups = self.groups.iter().map(|g| format!("rate = {} on {}", g.rate, g.parameters));
        words.insert("the groups".into(), list(groups));
        words.insert("the metrics".into(), list(self.metrics.iter().map(written)));
        words.insert("the learning rate".into(), self.schedule.rate.to_string());
        words.insert("the warm-up of".into(), format!("{} steps", self.schedule.warm_up));
        put(&mut words, "the schedule", &self.schedule.decay);
        put(&mut words, "the optimiser", &self.optimiser);
        words.insert("clip".into(), written(&self.clip));
        words.insert("spiking".into(), written(&self.spiking));
        let backprop = self.backprop.map_or_else(|| "as memory allows".into(), |backprop| written(&backprop));
        words.insert("backprop".into(), backprop);
        words.insert("shuffle".into(), self.shuffle.to_string());
        words
    }
}
