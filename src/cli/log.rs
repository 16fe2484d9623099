//! `log.jsonl`: one JSON object per line, flushed after each line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use nengo_wgpu::io::atomic::write_atomic;
use nengo_wgpu::{EpochReport, Error, Evaluation, Result};
use serde_json::{Map, Value, json};

/// Fields in the order of output.
pub type Fields = Vec<(String, Value)>;

/// True if the log at `path` ends with a summary, which marks a finished training.
pub fn is_finished(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let last = text.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    last.is_some_and(|fields| fields["final"] == true)
}

/// A log file and its epochs.
pub struct Log {
    path: PathBuf,
    file: File,
    /// Objects of the epochs, those of a resumed run first.
    pub epochs: Vec<Map<String, Value>>,
}

impl Log {
    /// Opens a log. Epochs up to `done` of an existing log are kept, so that none is duplicated.
    pub fn open(path: &Path, done: u64) -> Result<Self> {
        let mut kept = String::new();
        let mut epochs = Vec::new();
        if done > 0 {
            let old = match std::fs::read_to_string(path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
                old => old.map_err(|e| Error::io("read", path, e))?,
            };
            for line in old.lines() {
                // A killed run may have left half a line, and a finished one a summary, which is written anew.
                let Ok(Value::Object(fields)) = serde_json::from_str(line) else { continue };
                if fields.get("epoch").and_then(Value::as_u64).is_some_and(|epoch| epoch <= done) {
                    kept.push_str(line);
                    kept.push('\n');
                    epochs.push(fields);
                }
            }
        }
        write_atomic(path, |to| to.write_all(kept.as_bytes()))?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::io("write", path, e))?;
        Ok(Self { path: path.into(), file, epochs })
    }

    /// Appends an epoch.
    pub fn epoch(&mut self, report: &EpochReport, metrics: &[String]) -> Result<()> {
        let seconds = report.seconds.max(1e-9);
        let mut fields: Fields = vec![
            ("epoch".into(), json!(report.epoch)),
            ("step".into(), json!(report.step)),
            ("seconds".into(), json!(report.seconds)),
            ("loss".into(), json!(report.loss)),
        ];
        fields.extend(report.penalty.map(|penalty| ("penalty".into(), json!(penalty))));
        fields.extend(metrics.iter().zip(&report.metrics).map(|(name, value)| (name.clone(), json!(value))));
        fields.push(("examples_per_s".into(), json!(report.examples as f64 / seconds)));
        fields.push(("steps_per_s".into(), json!(report.minibatches as f64 / seconds)));
        if let Some(validation) = &report.validation {
            fields.extend(evaluation("validation", validation, metrics));
        }
        self.write(&fields)?;
        self.epochs.push(fields.into_iter().collect());
        Ok(())
    }

    /// Appends an object.
    pub fn write(&mut self, fields: &[(String, Value)]) -> Result<()> {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
        let line = format!("{{{}}}\n", pairs.join(", "));
        self.file.write_all(line.as_bytes()).map_err(|e| Error::io("write", &self.path, e))
    }

    /// Pairs of epoch and value of the field `name`, for epochs that have it.
    pub fn curve(&self, name: &str) -> Vec<(f64, f64)> {
        let number = |fields: &Map<String, Value>, name: &str| fields.get(name).and_then(Value::as_f64);
        self.epochs.iter().filter_map(|e| Some((number(e, "epoch")?, number(e, name)?))).collect()
    }
}

/// Fields `part_loss` and `part_metric` of an evaluation.
pub fn evaluation(part: &str, evaluation: &Evaluation, metrics: &[String]) -> Fields {
    let loss = std::iter::once((format!("{part}_loss"), json!(evaluation.loss)));
    let metrics = metrics.iter().zip(&evaluation.metrics);
    loss.chain(metrics.map(|(name, value)| (format!("{part}_{name}"), json!(value)))).collect()
}
