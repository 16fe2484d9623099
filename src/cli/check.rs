//! `nengo-wgpu check`.

use std::path::PathBuf;

use nengo_wgpu::{Error, Options, Result, Simulator, Verdict};

use super::{DeviceArg, count, first_examples, note, read_spec, say, table};

/// Default number of examples.
const EXAMPLES: usize = 4;

/// Checks the gradients of a TOML file's network on a device.
///
/// Compares, for each trained parameter and each input, the device's gradient with that of the same graph in 64-bit numbers,
/// and the latter with central differences of the loss. Uses the first training examples of [data], or random ones without
/// [data].
///
/// The last line is a one-word verdict, the worst of all gradients. right: they agree. kink: they agree next to a kink, where
/// the loss has no derivative, such as a ReLU at exactly 0. unclear: rounding to 32 bits changes a gradient by as much as its
/// error, so the check is inconclusive. wrong: a gradient is wrong; only this ends with exit code 1.
#[derive(clap::Args)]
#[command(after_help = "Example: nengo-wgpu check examples/digits.toml --device gpu")]
pub struct CheckArgs {
    /// The TOML file with the network and [train]
    file: PathBuf,
    #[command(flatten)]
    device: DeviceArg,
    /// Examples to check on [default: 4, or all if there are fewer]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    examples: Option<usize>,
    /// Elements of each gradient to compare with differences
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true, default_value_t = 16)]
    elements: usize,
    /// Largest error that passes, relative to the gradient's largest element
    #[arg(long, value_name = "X", default_value_t = 1e-3, allow_negative_numbers = true)]
    tolerance: f64,
    /// Location of the data, instead of [data]: the directory of IDX files, or a CSV file or its directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Parameters to check with, as written by train; initial parameters by default
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
}

/// Runs the check.
pub fn run(args: &CheckArgs) -> Result<()> {
    if args.tolerance.is_nan() || args.tolerance < 0.0 {
        return Err(Error::invalid(
            "--tolerance",
            format!("it is {}, but must be at least 0", args.tolerance),
        ));
    }
    let spec = read_spec(&args.file, args.data.as_ref())?;
    let network = spec.build()?;
    let train = spec.train()?;
    let (examples, (inputs, targets)) = match &spec.data {
        Some(_) => {
            let all = spec.load_data()?.train;
            let few = (all.len() > EXAMPLES).then_some(EXAMPLES);
            let first = first_examples(all, args.examples.or(few));
            (first.len(), spec.signals(&network, &first)?)
        }
        None => {
            let examples = args.examples.unwrap_or(EXAMPLES);
            (examples, spec.random_signals(&network, examples)?)
        }
    };
    let device = args.device.open()?;
    note(&format!("device: {device}"));
    let options = Options { minibatch: examples, dt: spec.dt, seed: None };
    let mut sim = Simulator::with(&network, &device, options)?;
    if let Some(params) = &args.params {
        sim.load_parameters(params)?;
    }
    sim.compile(spec.training(&network, examples)?)?;
    let (steps, tolerance) = (Some(train.steps), args.tolerance);
    let checked = sim.check_gradients_to(&inputs, &targets, steps, args.elements, tolerance)?;
    let head = ["gradient of", "elements", "compared", "differences", "device", "worst at", "verdict"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for c in &checked {
        let differences =
            if c.comparable { format!("{:.1e}", c.differences) } else { "not comparable".into() };
        let counts = [c.elements, c.checked].map(|n| n.to_string());
        let mut row = vec![c.name.clone()];
        row.extend(counts);
        row.extend([differences, format!("{:.1e}", c.device), c.at.clone(), c.verdict.to_string()]);
        rows.push(row);
    }
    say(&table(&rows));
    let verdict = checked.iter().map(|c| c.verdict).max().unwrap_or(Verdict::Right);
    say(&verdict.to_string());
    match checked.iter().find(|c| c.verdict == Verdict::Wrong) {
        None => Ok(()),
        Some(c) => {
            let problem = format!(
                "it is off by {:.1e} of its largest element at {}, more than {:.1e}",
                c.error(),
                c.at,
                args.tolerance
            );
            Err(Error::invalid(format!("the gradient of '{}'", c.name), problem))
        }
    }
}
