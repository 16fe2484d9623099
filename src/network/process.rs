//! Processes: signals over time for nodes. Presented inputs, piecewise signals, white signals and noise.

use std::sync::Arc;

use ndarray::Array2;
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use realfft::{RealFftPlanner, num_complex::Complex};

use crate::error::{Error, Result};
use crate::network::init::standard_normal;
use crate::network::{Noise, TimeFunction};

/// A signal over time.
///
/// Random processes are the same in each run with the same seed, see [`Noise`] and [`WhiteSignal`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Process {
    /// Each row of `inputs` for `presentation_time` seconds, repeating from the first row.
    PresentInput {
        /// One row per presentation.
        inputs: Array2<f32>,
        /// Seconds per presentation, above 0.
        presentation_time: f64,
    },
    /// Values at given times, with an interpolation between them.
    Piecewise {
        /// Times in seconds, in rising order.
        times: Vec<f64>,
        /// One row per time.
        values: Array2<f32>,
        /// Interpolation between the times.
        interpolation: Interpolation,
    },
    /// A band-limited random signal.
    WhiteSignal(WhiteSignal),
    /// Random numbers at each step, filtered or not.
    Noise(Noise),
}

/// Interpolation of a [`Process::Piecewise`] between its times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// The value of the last time; zero before the first. A step belongs to a time within half a step of it.
    #[default]
    Zero,
    /// Linear interpolation; zero before the first time and after the last.
    Linear,
    /// The value of the nearest time, the earlier of two equally near; zero before the first time and after the last.
    Nearest,
}

/// A random signal with period `period` and frequencies above 0 up to `high`, all of equal power.
///
/// The cosine and sine amplitudes of each frequency are normally distributed, and a Fourier transform turns them into the
/// signal. All examples get the same signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WhiteSignal {
    /// Number of dimensions, each with its own signal.
    pub size: usize,
    /// Period in seconds, above 0; rounded up to an even number of steps.
    pub period: f64,
    /// Highest frequency in Hz, from `1 / period` up to half the step rate.
    pub high: f64,
    /// Expected root mean square; 0.5 by default.
    pub rms: f64,
    /// Shift each dimension in time to start where it is nearest to this value; `None` does not shift.
    pub y0: Option<f64>,
    /// Seed; derived from the network's seed and the node's name by default.
    pub seed: Option<u64>,
}

/// Most numbers in the table of a signal.
const MAX_VALUES: f64 = (1_u64 << 28) as f64;

impl WhiteSignal {
    /// A signal of `size` dimensions with a root mean square of 0.5.
    pub fn new(size: usize, period: f64, high: f64) -> Self {
        Self { size, period, high, rms: 0.5, y0: None, seed: None }
    }

    /// Sets the root mean square, at least 0.
    pub fn rms(self, rms: f64) -> Self {
        Self { rms, ..self }
    }

    /// Starts each dimension near a value.
    pub fn y0(self, y0: f64) -> Self {
        Self { y0: Some(y0), ..self }
    }

    /// Sets the seed.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    fn check(&self, what: &str) -> Result<()> {
        let Self { period, high, rms, y0, .. } = *self;
        let invalid = |problem: String| Err(Error::invalid(what, format!("its white signal {problem}")));
        if !(period.is_finite() && period > 0.0) {
            return invalid(format!("has the period {period} s, but it must be above 0"));
        }
        if !(high.is_finite() && high * period >= 1.0) {
            let least = 1.0 / period;
            return invalid(format!(
                "goes up to {high} Hz, but the lowest frequency with a period of {period} s is {least} Hz; \
                 make high or period larger"
            ));
        }
        if !(rms.is_finite() && rms >= 0.0) {
            return invalid(format!("has the root mean square {rms}, but it must be at least 0"));
        }
        match y0.filter(|y0| !y0.is_finite()) {
            Some(y0) => invalid(format!("starts near {y0}")),
            None => Ok(()),
        }
    }

    /// One period of the signal; row k is the value at time `(k + 1) dt`.
    fn table(&self, what: &str, dt: f64, seed: u64) -> Result<Array2<f32>> {
        let invalid = |problem: String| Error::invalid(what, format!("its white signal {problem}"));
        let half = (self.period / dt / 2.0 - 1e-9).ceil().max(1.0);
        if self.high > 0.5 / dt * (1.0 + 1e-9) {
            let nyquist = 0.5 / dt;
            let high = self.high;
            return Err(invalid(format!(
                "goes up to {high} Hz, but steps of {dt} s carry {nyquist} Hz at most"
            )));
        }
        if 2.0 * half * self.size as f64 > MAX_VALUES {
            return Err(invalid(format!("has {} steps a period, too many to keep", 2.0 * half)));
        }
        let half = half as usize;
        let steps = 2 * half;
        let kept = ((self.high * steps as f64 * dt + 1e-9) as usize).clamp(1, half);
        let sigma = self.rms / (kept as f64).sqrt();
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let inverse = RealFftPlanner::<f64>::new().plan_fft_inverse(steps);
        let mut table = Array2::zeros((steps, self.size));
        let mut signal = vec![0.0; steps];
        for mut column in table.columns_mut() {
            // The transform sums each coefficient and its conjugate.
            let mut spectrum = vec![Complex::new(0.0, 0.0); half + 1];
            for c in &mut spectrum[1..=kept] {
                *c = 0.5 * sigma * Complex::new(standard_normal(&mut rng), standard_normal(&mut rng));
            }
            spectrum[half].im = 0.0;
            inverse.process(&mut spectrum, &mut signal).map_err(|e| invalid(e.to_string()))?;
            if let Some(y0) = self.y0 {
                let off = |k: &usize| (signal[*k] - y0).abs();
                let nearest = (0..steps).min_by(|i, j| off(i).total_cmp(&off(j)));
                signal.rotate_left(nearest.unwrap_or(0));
            }
            column.iter_mut().zip(&signal).for_each(|(to, y)| *to = *y as f32);
        }
        Ok(table)
    }
}

impl From<WhiteSignal> for Process {
    fn from(signal: WhiteSignal) -> Self {
        Self::WhiteSignal(signal)
    }
}

impl From<Noise> for Process {
    fn from(noise: Noise) -> Self {
        Self::Noise(noise)
    }
}

impl Process {
    /// Sets the number of dimensions, of processes where it does not follow from values.
    pub(super) fn with_size(mut self, n: usize) -> Self {
        match &mut self {
            Process::Noise(noise) => noise.size = n,
            Process::WhiteSignal(signal) => signal.size = n,
            Process::PresentInput { .. } | Process::Piecewise { .. } => {}
        }
        self
    }

    /// Presents each row of `inputs` for `presentation_time` seconds.
    pub fn present_input(inputs: Array2<f32>, presentation_time: f64) -> Self {
        Self::PresentInput { inputs, presentation_time }
    }

    /// Switches to a row of `values` at each of `times` (in seconds).
    pub fn piecewise(times: &[f64], values: Array2<f32>) -> Self {
        Self::Piecewise { times: times.to_vec(), values, interpolation: Interpolation::Zero }
    }

    /// Has a row of `values` at each of `times` (in seconds), with an interpolation between them.
    pub fn interpolated(times: &[f64], values: Array2<f32>, interpolation: Interpolation) -> Self {
        Self::Piecewise { times: times.to_vec(), values, interpolation }
    }

    /// Number of output dimensions.
    pub fn size(&self) -> usize {
        match self {
            Process::PresentInput { inputs: values, .. } | Process::Piecewise { values, .. } => {
                values.ncols()
            }
            Process::WhiteSignal(signal) => signal.size,
            Process::Noise(noise) => noise.size,
        }
    }

    pub(crate) fn check(&self, what: &str) -> Result<()> {
        let finite = |values: &Array2<f32>| match values.iter().find(|x| !x.is_finite()) {
            Some(bad) => Err(Error::invalid(what, format!("its values hold {bad}"))),
            None => Ok(()),
        };
        match self {
            Process::PresentInput { inputs, presentation_time: time } => {
                if !(time.is_finite() && *time > 0.0) {
                    let problem = format!("its presentation time is {time} s, but must be above 0");
                    return Err(Error::invalid(what, problem));
                }
                if inputs.is_empty() {
                    return Err(Error::invalid(what, "it has no inputs to present"));
                }
                finite(inputs)
            }
            Process::Piecewise { times, values, .. } => {
                if times.is_empty() {
                    return Err(Error::invalid(
                        what,
                        "its piecewise process has no times; give it at least one",
                    ));
                }
                if times.len() != values.nrows() {
                    let (left, right) = (format!("the times of {what}"), "its values");
                    let rows = format!("{} rows", values.nrows());
                    return Err(Error::shape(left, format!("{} numbers", times.len()), right, rows));
                }
                if let Some(bad) = times.iter().find(|t| !t.is_finite()) {
                    return Err(Error::invalid(what, format!("one of its times is {bad}")));
                }
                if let Some(w) = times.windows(2).find(|w| w[0] >= w[1]) {
                    let problem = format!("its times must grow, but {} s comes before {} s", w[0], w[1]);
                    return Err(Error::invalid(what, problem));
                }
                finite(values)
            }
            Process::WhiteSignal(signal) => signal.check(what),
            Process::Noise(noise) => noise.check(what),
        }
    }

    /// The signal as a function of the time at the end of a step, in seconds, for steps of `dt` seconds. `None` for noise,
    /// which the device draws. `seed` is used if the process has no seed of its own.
    ///
    /// # Errors
    /// A signal that steps of this length cannot represent; the error names `what`.
    pub fn function(&self, what: &str, dt: f64, seed: u64) -> Result<Option<TimeFunction>> {
        Ok(Some(match self.clone() {
            Process::PresentInput { inputs, presentation_time } => Arc::new(move |t| {
                let shown = ((t - dt) / presentation_time + 1e-7).floor().max(0.0);
                inputs.row((shown % inputs.nrows() as f64) as usize).to_vec()
            }),
            Process::Piecewise { times, values, interpolation } => {
                Arc::new(move |t| piece(&times, &values, interpolation, t, dt))
            }
            Process::WhiteSignal(signal) => {
                let table = signal.table(what, dt, signal.seed.unwrap_or(seed))?;
                Arc::new(move |t| {
                    let step = (t / dt).round().max(1.0) as u64 - 1;
                    table.row((step % table.nrows() as u64) as usize).to_vec()
                })
            }
            Process::Noise(_) => return Ok(None),
        }))
    }
}

/// Value of a piecewise signal at time `t`.
fn piece(times: &[f64], values: &Array2<f32>, interpolation: Interpolation, t: f64, dt: f64) -> Vec<f32> {
    let zero = || vec![0.0; values.ncols()];
    if interpolation == Interpolation::Zero {
        return match times.partition_point(|&time| time < t + dt / 2.0) {
            0 => zero(),
            begun => values.row(begun - 1).to_vec(),
        };
    }
    let last = times.len() - 1;
    if t < times[0] || t > times[last] {
        return zero();
    }
    if interpolation == Interpolation::Nearest {
        let nearest = times.windows(2).filter(|w| f64::midpoint(w[0], w[1]) < t).count();
        return values.row(nearest).to_vec();
    }
    let i = times.partition_point(|&time| time <= t).clamp(1, last.max(1)) - 1;
    let next = (i + 1).min(last);
    let share = if next == i { 0.0 } else { (t - times[i]) / (times[next] - times[i]) };
    let between = |(a, b): (&f32, &f32)| (f64::from(*a) + share * (f64::from(*b) - f64::from(*a))) as f32;
    values.row(i).iter().zip(values.row(next)).map(between).collect()
}
