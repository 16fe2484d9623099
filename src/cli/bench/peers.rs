//! Other tools on the same benchmark, where Python has them.

use std::process::Command;

use nengo_wgpu::{Error, Result};
use serde_json::Value;

/// The script that times peers.
const SCRIPT: &str = include_str!("../../../benches/peers.py");

/// The tool and the Python of a `--vs` option.
pub fn split(peer: &str) -> (&str, &str) {
    peer.split_once('=').unwrap_or((peer, "python3"))
}

/// Runs the script for a peer with the settings `spec` and returns its output.
pub fn ask(peer: &str, spec: &Value) -> Result<Value> {
    let (name, python) = split(peer);
    let failed = |problem: String| Error::invalid(format!("--vs {name}"), problem);
    let output = Command::new(python).args(["-c", SCRIPT, &spec.to_string()]).output();
    let output = output.map_err(|e| failed(format!("'{python}' cannot be run: {e}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    found.filter(|_| output.status.success()).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        failed(said.lines().last().unwrap_or("it gave no result").to_string())
    })
}

/// Seconds of each run in a peer's output.
pub fn seconds(peer: &str, found: &Value) -> Result<Vec<f64>> {
    let seconds: Option<Vec<f64>> = serde_json::from_value(found.clone()).ok();
    let none = || Error::invalid(format!("--vs {peer}"), "it gave no result");
    seconds.filter(|s| !s.is_empty()).ok_or_else(none)
}
