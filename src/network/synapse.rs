//! Filters on connections and probes.

use crate::error::{Error, Result};
use crate::expr::step::lost_step;
use crate::op::discretise::{Discrete, Method, StateSpace};

/// A filter on a connection or probe. It delays by one step: its output at a step depends on inputs up to the step before.
/// Without a synapse there is no delay.
///
/// ```
/// use nengo_wgpu::network::{LinearFilter, Synapse};
///
/// let lowpass = Synapse::Lowpass(0.005);
/// let band_pass = Synapse::from(LinearFilter::new(&[0.02, 0.0], &[0.0004, 0.02, 1.0]));
/// # let _ = (lowpass, band_pass);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Synapse {
    /// First-order lowpass `1 / (tau s + 1)` with this time constant in seconds, at least 0. With 0 it is a pure delay.
    Lowpass(f64),
    /// Second-order lowpass `1 / (tau s + 1)^2` with this time constant in seconds, at least 0.
    Alpha(f64),
    /// Any stable linear filter.
    LinearFilter(LinearFilter),
    /// A weighted mean of recent inputs, with weights falling linearly to zero over this many seconds.
    Triangle(f64),
}

/// A linear filter of any order up to 64.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearFilter {
    /// The system.
    pub system: System,
    /// True for a system in continuous time; false for one in time steps.
    pub analog: bool,
    /// Discretisation method of a system in continuous time.
    pub method: Method,
}

/// Representation of a linear system.
#[derive(Clone, Debug, PartialEq)]
pub enum System {
    /// Transfer function in s (in z if not analog), with coefficients from the highest power down.
    TransferFunction {
        /// Coefficients of the numerator.
        numerator: Vec<f64>,
        /// Coefficients of the denominator.
        denominator: Vec<f64>,
    },
    /// State-space matrices.
    StateSpace(Box<StateSpace>),
}

impl LinearFilter {
    /// `numerator / denominator` in s, with coefficients from the highest power down: `[1], [tau, 1]` is a lowpass.
    pub fn new(numerator: &[f64], denominator: &[f64]) -> Self {
        let (numerator, denominator) = (numerator.to_vec(), denominator.to_vec());
        let system = System::TransferFunction { numerator, denominator };
        Self { system, analog: true, method: Method::default() }
    }

    /// A system given by its state-space matrices.
    pub fn state_space(system: StateSpace) -> Self {
        Self { system: System::StateSpace(Box::new(system)), analog: true, method: Method::default() }
    }

    /// Takes the system as that of a time step, whatever its length.
    pub fn digital(self) -> Self {
        Self { analog: false, ..self }
    }

    /// Sets the discretisation method.
    pub fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    fn system(&self) -> Result<StateSpace, String> {
        let system = match &self.system {
            System::TransferFunction { numerator, denominator } => {
                let coefficients = numerator.len().max(denominator.len());
                if coefficients > MAX_STATES + 1 {
                    return Err(format!("it has {coefficients} coefficients, more than {}", MAX_STATES + 1));
                }
                StateSpace::from_transfer_function(numerator, denominator)?
            }
            System::StateSpace(system) => (**system).clone(),
        };
        if system.order() > MAX_STATES {
            return Err(format!("it has {} states, more than {MAX_STATES}", system.order()));
        }
        system.check()?;
        Ok(system)
    }

    /// The system at steps of `dt` seconds, stable or not.
    pub(crate) fn at(&self, dt: f64) -> Result<StateSpace, String> {
        let system = self.system()?;
        let system = if self.analog { system.discretise(dt, self.method) } else { system };
        system.check()?;
        Ok(system)
    }
}

/// A lowpass with this time constant in seconds.
impl From<f64> for Synapse {
    fn from(tau: f64) -> Self {
        Self::Lowpass(tau)
    }
}

impl From<LinearFilter> for Synapse {
    fn from(filter: LinearFilter) -> Self {
        Self::LinearFilter(filter)
    }
}

/// Poles nearer to the unit circle than this count as on it.
const MARGIN: f64 = 1e-12;
/// Most states of a linear filter.
const MAX_STATES: usize = 64;
/// Most steps of a triangle's window; each is kept in a register.
const MAX_TAPS: f64 = 512.0;

impl Synapse {
    /// Discretises the filter at steps of `dt` seconds. Lowpass, alpha and linear filters use zero-order hold unless a linear
    /// filter sets another method. A triangle has `t / dt` weights, rounded to even as in NumPy, plus one.
    ///
    /// # Errors
    /// A setting out of range, or an unstable linear filter; the error names `what`.
    pub fn discretise(&self, what: &str, dt: f64) -> Result<Discrete> {
        self.check(what)?;
        let invalid = |problem: String| Error::invalid(what, format!("its synapse: {problem}"));
        let lowpass = |tau: f64, denominator: &[f64]| {
            // After one more step, the remainder of an input is below the smallest number.
            if tau * 700.0 <= dt {
                return Ok(Discrete::Linear(StateSpace::gain(1.0)));
            }
            if let Some(problem) = lost_step(dt, "its time constant", tau) {
                return Err(invalid(problem));
            }
            let filter = LinearFilter::new(&[1.0], denominator);
            filter.at(dt).map(Discrete::Linear).map_err(invalid)
        };
        match self {
            Synapse::Lowpass(tau) => lowpass(*tau, &[*tau, 1.0]),
            Synapse::Alpha(tau) => lowpass(*tau, &[tau * tau, 2.0 * tau, 1.0]),
            Synapse::LinearFilter(filter) => {
                let system = filter.at(dt).map_err(invalid)?;
                check_decay(&system).map_err(invalid)?;
                Ok(Discrete::Linear(system))
            }
            Synapse::Triangle(t) => {
                let steps = (t / dt).round_ties_even();
                if steps > MAX_TAPS {
                    let problem = format!(
                        "a triangle of {t} s is {steps} steps long, more than {MAX_TAPS}; take an alpha or a lowpass"
                    );
                    return Err(invalid(problem));
                }
                let n = steps as usize + 1;
                let sum = (n * (n + 1) / 2) as f64;
                Ok(Discrete::Taps((0..n).map(|k| (n - k) as f64 / sum).collect()))
            }
        }
    }

    /// Rejects settings that are invalid at any time step.
    pub(crate) fn check(&self, what: &str) -> Result<()> {
        match self {
            Synapse::Lowpass(tau) | Synapse::Alpha(tau) => check_time(what, "has the time constant", *tau),
            Synapse::Triangle(t) => check_time(what, "is a triangle of", *t),
            Synapse::LinearFilter(filter) => {
                let problem = |p| Error::invalid(what, format!("its synapse: {p}"));
                filter.system().map(drop).map_err(problem)
            }
        }
    }
}

fn check_time(what: &str, is: &str, seconds: f64) -> Result<()> {
    if seconds.is_finite() && seconds >= 0.0 {
        return Ok(());
    }
    let must = if seconds < 0.0 { "at least 0" } else { "finite" };
    Err(Error::invalid(what, format!("its synapse {is} {seconds} s, but it must be {must}")))
}

fn check_decay(system: &StateSpace) -> Result<(), String> {
    let Some(poles) = system.poles() else {
        return Err("its poles cannot be computed; give it coefficients of like sizes".into());
    };
    match poles.first() {
        Some(&(re, im)) if re.hypot(im) >= 1.0 - MARGIN => {
            let pole = if im == 0.0 { format!("{re:.6}") } else { format!("{re:.6} ± {:.6}i", im.abs()) };
            Err(format!(
                "at this time step it has the pole {pole}, of magnitude {:.6}, so it never forgets its past; all \
                 poles must be of magnitude below 1",
                re.hypot(im)
            ))
        }
        _ => Ok(()),
    }
}
