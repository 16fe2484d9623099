//! Checkpoints: parameters, optimiser slots and counters, from which training goes on bit for bit.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::programs::{PARAMETERS, SLOTS};
use super::{Simulator, processes};
use crate::error::{Error, Result};
use crate::io::params::{self, Metadata, Tensors};
use crate::train::Optimiser;

/// The counters, kept as JSON in the file's metadata.
#[derive(Deserialize, Serialize)]
struct Counters {
    step: u64,
    epoch: u64,
    seed: u64,
    optimiser: Optimiser,
    /// What was trained with then; nothing in older files.
    #[serde(default)]
    minibatch: Option<usize>,
    #[serde(default)]
    rate: Option<f32>,
}

const KEY: &str = "nengo-wgpu checkpoint";

impl Simulator {
    /// Writes parameters, optimiser slots and counters, atomically: a killed process leaves the last whole file.
    ///
    /// # Errors
    /// Parameters that are not finite (the last file stays), a file that cannot be written, or a lost device.
    pub fn save_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let Some(compiled) = &self.compiled else {
            return Err(Error::invalid("a checkpoint", "nothing has been compiled yet; call compile first"));
        };
        let optimiser = compiled.training.optimiser;
        let counters = Counters {
            step: compiled.step,
            epoch: compiled.epoch,
            seed: self.seed,
            optimiser,
            minibatch: Some(self.minibatch),
            rate: Some(compiled.training.schedule.rate),
        };
        let json = serde_json::to_string(&counters).map_err(|e| Error::file(path.as_ref(), e.to_string()))?;
        let values = self.read_all(PARAMETERS)?;
        let mut all = vec![(String::new(), values)];
        let used = optimiser.rule().slots(optimiser.momentum_of());
        for i in (0..3).filter(|&i| used[i]) {
            all.push((format!("optimiser/{i}/"), self.read_all(SLOTS + i)?));
        }
        let mut tensors = Vec::new();
        for (prefix, values) in &all {
            tensors.extend(self.named_tensors(values, prefix));
        }
        for (name, _, values) in &tensors {
            if let Some(&value) = values.iter().find(|x| !x.is_finite()) {
                let hint = "lower the learning rate or clip the gradient; the last checkpoint is kept".into();
                return Err(Error::NotFinite { what: format!("'{name}'"), value, step: counters.step, hint });
            }
        }
        let borrowed: Vec<_> =
            tensors.iter().map(|(n, shape, data)| (n.as_str(), shape.clone(), *data)).collect();
        params::save(path, &borrowed, &Metadata::from([(KEY.to_string(), json)]))
    }

    /// Reads a checkpoint of this network, compiled with the same optimiser: training goes on as if it had never
    /// stopped. [`Simulator::warnings`] tells then in what it goes on otherwise.
    ///
    /// # Errors
    /// A file of another network or optimiser, or one that cannot be read; nothing is changed then.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let Some(compiled) = &self.compiled else {
            return Err(Error::invalid("a checkpoint", "nothing has been compiled yet; call compile first"));
        };
        let (tensors, metadata) = params::load(path)?;
        let json =
            metadata.get(KEY).ok_or_else(|| Error::file(path, "it is no checkpoint: it has no counters"))?;
        let counters: Counters = serde_json::from_str(json)
            .map_err(|e| Error::file(path, format!("its counters cannot be read: {e}")))?;
        let optimiser = compiled.training.optimiser;
        if counters.optimiser != optimiser {
            let problem = format!("it was trained with {:?}, but this is {optimiser:?}", counters.optimiser);
            return Err(Error::file(path, problem));
        }
        let used = optimiser.rule().slots(optimiser.momentum_of());
        let prefixes = (0..3).filter(|&i| used[i]).map(|i| (SLOTS + i, format!("optimiser/{i}/")));
        let all: Vec<(usize, String)> = [(PARAMETERS, String::new())].into_iter().chain(prefixes).collect();
        let mut expected = Vec::new();
        for (_, prefix) in &all {
            expected
                .extend(self.expected().into_iter().map(|(name, shape)| (format!("{prefix}{name}"), shape)));
        }
        params::check_keys(path, &expected, &tensors)?;
        for (buffer, prefix) in all {
            self.write_named(buffer, &prefix, &tensors)?;
        }
        self.resumed = self.changes_since(&counters);
        self.seed = counters.seed;
        self.processes = processes::functions(&self.network, self.dt, self.seed)?;
        if let Some(compiled) = &mut self.compiled {
            (compiled.step, compiled.epoch) = (counters.step, counters.epoch);
        }
        Ok(())
    }

    /// In what the training that goes on differs from the one that stopped, in sentences.
    fn changes_since(&self, then: &Counters) -> Vec<String> {
        let Some(compiled) = &self.compiled else { return Vec::new() };
        let mut changes = Vec::new();
        let mut changed = |what: &str, then: String, now: String| {
            if then != now {
                changes
                    .push(format!("the checkpoint was trained with {what} {then}, and goes on with {now}"));
            }
        };
        let schedule = &compiled.training.schedule;
        let (minibatch, rate) =
            (then.minibatch.unwrap_or(self.minibatch), then.rate.unwrap_or(schedule.rate));
        changed("minibatches of", minibatch.to_string(), self.minibatch.to_string());
        changed("the learning rate", rate.to_string(), schedule.rate.to_string());
        if then.seed != self.seed {
            changes.push(format!("the checkpoint's seed, {}, is used in place of {}", then.seed, self.seed));
        }
        if schedule.at(then.step) == 0.0 {
            changes.push(format!(
                "the schedule's learning rate is 0 at training step {}, where the checkpoint stands, so nothing is learned",
                then.step
            ));
        }
        changes
    }

    fn write_named(&mut self, buffer: usize, prefix: &str, tensors: &Tensors) -> Result<()> {
        for (i, p) in self.network.parameters.iter().enumerate() {
            if let Some((_, values)) = tensors.get(&format!("{prefix}{}", p.name)) {
                self.engine.write(self.shared[buffer], self.layout.places[i].offset, values)?;
            }
        }
        Ok(())
    }
}
