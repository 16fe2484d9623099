//! Checkpoints: parameters, optimiser slots and counters, from which training continues bit for bit.

use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::io::params::{self, Metadata, Tensors};
use crate::optim::Optimiser;
use crate::sim::core::Core;
use crate::sim::processes;
use crate::sim::shared::Shared;
use crate::trainer::best::{Best, BestMark};
use crate::trainer::compiled::Trainer;
use crate::trainer::resume::{network_changes, network_in_words};
use crate::trainer::{Words, written_kind};

/// Counters and settings, as JSON in the file's metadata.
#[derive(Deserialize, Serialize)]
struct Counters {
    step: u64,
    epoch: u64,
    seed: u64,
    #[serde(deserialize_with = "optimiser")]
    optimiser: Optimiser,
    /// Settings of the training, and description of its data; empty in older files.
    #[serde(default)]
    settings: Words,
    #[serde(default)]
    data: Words,
    /// Fingerprint of the settings of each part of the network; empty in older files.
    #[serde(default)]
    network: Words,
    /// Best epoch of a training with early stopping. Its parameters are tensors of the file.
    #[serde(default)]
    best: Option<BestMark>,
}

const KEY: &str = "nengo-wgpu checkpoint";

/// Prefix of the names of the best epoch's parameters.
const BEST: &str = "best/";

/// Reads the optimiser. Older files have its kind among its settings.
fn optimiser<'de, D: Deserializer<'de>>(from: D) -> Result<Optimiser, D::Error> {
    let mut value = Value::deserialize(from)?;
    if let Some(Value::String(kind)) = value.as_object_mut().and_then(|settings| settings.remove("kind")) {
        value = [(kind, value)].into_iter().collect();
    }
    serde_json::from_value(value).map_err(D::Error::custom)
}

impl Trainer {
    /// Writes a checkpoint atomically: a killed process leaves the earlier file whole.
    pub(crate) fn save_checkpoint(&self, core: &mut Core, path: impl AsRef<Path>) -> Result<()> {
        let optimiser = self.training.optimiser;
        let counters = Counters {
            step: self.step,
            epoch: self.epoch,
            seed: core.seed,
            optimiser,
            settings: self.settings(core),
            network: network_in_words(core),
            data: self.data.clone(),
            best: self.best.as_ref().map(|best| best.mark),
        };
        let best = self.best.as_ref().map(|best| (BEST.to_string(), best.values.clone()));
        let json = serde_json::to_string(&counters).map_err(|e| Error::file(path.as_ref(), e.to_string()))?;
        let values = core.read_all(Shared::Parameters)?;
        let mut buffers = vec![(String::new(), values)];
        let used = optimiser.rule().slots(optimiser.momentum_of());
        for i in (0..3).filter(|&i| used[i]) {
            buffers.push((format!("optimiser/{i}/"), core.read_all(Shared::Slot(i))?));
        }
        buffers.extend(best);
        let mut tensors = Vec::new();
        for (prefix, values) in &buffers {
            tensors.extend(core.named_tensors(values, prefix));
        }
        for (name, _, values) in &tensors {
            if let Some(&value) = values.iter().find(|x| !x.is_finite()) {
                let hint =
                    "lower the learning rate or clip the gradient; what was saved before is kept".into();
                return Err(Error::NotFinite { what: format!("'{name}'"), value, step: counters.step, hint });
            }
        }
        let borrowed: Vec<_> =
            tensors.iter().map(|(n, shape, data)| (n.as_str(), shape.clone(), *data)).collect();
        params::save(path, &borrowed, &Metadata::from([(KEY.to_string(), json)]))
    }

    /// Loads a checkpoint of this network and an optimiser with the same state. Notes differences in settings.
    pub(crate) fn load_checkpoint(&mut self, core: &mut Core, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (tensors, metadata) = params::load(path)?;
        let json =
            metadata.get(KEY).ok_or_else(|| Error::file(path, "it is no checkpoint: it has no counters"))?;
        let counters: Counters = serde_json::from_str(json).map_err(|_| {
            Error::file(path, "its counters cannot be read: the file is damaged, or of another version")
        })?;
        let optimiser = self.training.optimiser;
        if !optimiser.continues(&counters.optimiser) {
            let (then, now) = (written_kind(&counters.optimiser), written_kind(&optimiser));
            let problem = format!(
                "it was trained with optimiser = {then}, whose state does not fit optimiser = {now}; continue with the same \
                 kind, or train from the start"
            );
            return Err(Error::file(path, problem));
        }
        let used = optimiser.rule().slots(optimiser.momentum_of());
        let prefixes = (0..3).filter(|&i| used[i]).map(|i| (Shared::Slot(i), format!("optimiser/{i}/")));
        let all: Vec<(Shared, String)> =
            [(Shared::Parameters, String::new())].into_iter().chain(prefixes).collect();
        let best = counters.best.map(|_| BEST);
        let mut expected = Vec::new();
        for prefix in all.iter().map(|(_, prefix)| prefix.as_str()).chain(best) {
            expected
                .extend(core.expected().into_iter().map(|(name, shape)| (format!("{prefix}{name}"), shape)));
        }
        params::check_keys(path, &expected, &tensors)?;
        for (buffer, prefix) in all {
            write_named(core, buffer, &prefix, &tensors)?;
        }
        let best = counters.best.map(|mark| Best { mark, values: buffer_of(core, BEST, &tensors) });
        self.resumed = network_changes(core, &counters.network);
        self.resumed.extend(self.changes_since(core, counters.step, counters.seed, &counters.settings));
        core.seed = counters.seed;
        core.processes = processes::functions(&core.network, core.dt, core.seed)?;
        (self.step, self.epoch) = (counters.step, counters.epoch);
        (self.best, self.continues) = (best, true);
        (self.data, self.data_then) = (counters.data.clone(), Some(counters.data));
        Ok(())
    }
}

/// Tensors of a file, after a prefix, as the floats of a buffer with the parameters' layout.
fn buffer_of(core: &Core, prefix: &str, tensors: &Tensors) -> Vec<f32> {
    let mut values = vec![0.0; core.layout.floats()];
    for (p, place) in core.network.parameters.iter().zip(&core.layout.places) {
        if let Some((_, found)) = tensors.get(&format!("{prefix}{}", p.name)) {
            values[place.offset..place.offset + found.len()].copy_from_slice(found);
        }
    }
    values
}

/// Writes the tensors of a file, after a prefix, to a buffer with the parameters' layout.
fn write_named(core: &mut Core, buffer: Shared, prefix: &str, tensors: &Tensors) -> Result<()> {
    for (i, p) in core.network.parameters.iter().enumerate() {
        if let Some((_, values)) = tensors.get(&format!("{prefix}{}", p.name)) {
            core.engine.write(core.shared.get(buffer), core.layout.places[i].offset, values)?;
        }
    }
    Ok(())
}
