//! Filters on connections and probes.

use crate::error::{Error, Result};
use crate::expr::step::lost_step;
use crate::op::discretise::{Discrete, Method, StateSpace};

/// A filter on a connection or probe. It delays by one step: what leaves it at a step depends on what came in up to
/// the step before. Without a synapse nothing is delayed.
///
/// ```
/// use nengo_wgpu::network::{LinearFilter, Synapse};
///
/// let lowpass = Synapse::Lowpass(0.005);
/// let band_pass = Synapse::from(LinearFilter::new(&[0.02, 0.0], &[0.0004, 0.02, 1.0]));
/// # let _ = (lowpass, band_pass);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Synapse {
    /// First-order lowpass `1 / (tau s + 1)` with this time constant in seconds. With 0 it only delays.
    Lowpass(f64),
    /// Second-order lowpass `1 / (tau s + 1)^2` with this time constant in seconds.
    Alpha(f64),
    /// Any linear filter that decays.
    LinearFilter(LinearFilter),
    /// A weighted mean of the last inputs, with weights that fall in a line to zero over this many seconds.
    Triangle(f64),
}

/// A linear filter of any order.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearFilter {
    /// What it does.
    pub system: System,
    /// In continuous time; else the system is that of a time step.
    pub analog: bool,
    /// How a system in continuous time is brought to time steps.
    pub method: Method,
}

/// How a linear filter is given.
#[derive(Clone, Debug, PartialEq)]
pub enum System {
    /// By a transfer function in s (in z, if it is not analog), coefficients from the highest power down.
    TransferFunction {
        /// Coefficients of the numerator.
        numerator: Vec<f64>,
        /// Coefficients of the denominator.
        denominator: Vec<f64>,
    },
    /// By matrices.
    StateSpace(Box<StateSpace>),
}

impl LinearFilter {
    /// `numerator / denominator` in s, coefficients from the highest power down: `[1], [tau, 1]` is a lowpass.
    pub fn new(numerator: &[f64], denominator: &[f64]) -> Self {
        let (numerator, denominator) = (numerator.to_vec(), denominator.to_vec());
        let system = System::TransferFunction { numerator, denominator };
        Self { system, analog: true, method: Method::default() }
    }

    /// A system given by its matrices.
    pub fn state_space(system: StateSpace) -> Self {
        Self { system: System::StateSpace(Box::new(system)), analog: true, method: Method::default() }
    }

    /// The system is that of a time step already, whatever the step's length is.
    pub fn digital(self) -> Self {
        Self { analog: false, ..self }
    }

    /// With another way from continuous time to time steps.
    pub fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    fn system(&self) -> Result<StateSpace, String> {
        let system = match &self.system {
            System::TransferFunction { numerator, denominator } => {
                let coefficients = numerator.len().max(denominator.len());
                if coefficients > MOST_STATES + 1 {
                    return Err(format!("it has {coefficients} coefficients, more than {}", MOST_STATES + 1));
                }
                StateSpace::from_transfer_function(numerator, denominator)?
            }
            System::StateSpace(system) => (**system).clone(),
        };
        if system.order() > MOST_STATES {
            return Err(format!("it has {} states, more than {MOST_STATES}", system.order()));
        }
        system.check()?;
        Ok(system)
    }

    /// The system of a step, stable or not.
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
const MOST_STATES: usize = 64;
/// Most steps that a triangle may look back: each is kept in a register.
const MOST_TAPS: f64 = 512.0;

impl Synapse {
    /// The filter at steps of `dt` seconds. Lowpass, alpha and linear filters by zero-order hold, unless they say
    /// another way; a triangle has `t / dt` weights, rounded to even as in NumPy, and one.
    ///
    /// # Errors
    /// A setting that makes no sense, or a linear filter that does not decay; `what` is named.
    pub fn discretise(&self, what: &str, dt: f64) -> Result<Discrete> {
        self.check(what)?;
        let invalid = |problem: String| Error::invalid(what, format!("its synapse: {problem}"));
        let lowpass = |tau: f64, denominator: &[f64]| {
            // What is left of a step's input after the next is below the smallest number.
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
                if steps > MOST_TAPS {
                    let problem = format!(
                        "a triangle of {t} s is {steps} steps long, more than {MOST_TAPS}; take an alpha or a lowpass"
                    );
                    return Err(invalid(problem));
                }
                let n = steps as usize + 1;
                let sum = (n * (n + 1) / 2) as f64;
                Ok(Discrete::Taps((0..n).map(|k| (n - k) as f64 / sum).collect()))
            }
        }
    }

    /// Refuses what makes no sense at any time step.
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
