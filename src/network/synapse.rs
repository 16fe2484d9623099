//! Filters on connections and probes.

use crate::error::{Error, Result};

/// A filter on a connection or probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Synapse {
    /// First-order lowpass with this time constant in seconds; delays by one step, also with 0.
    Lowpass(f64),
}

pub(super) fn check_tau(what: &str, tau: f64) -> Result<()> {
    if tau.is_finite() && tau >= 0.0 {
        return Ok(());
    }
    Err(Error::invalid(what, format!("its synapse has the time constant {tau} s, but it must be at least 0")))
}
