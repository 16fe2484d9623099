//! `nengo-wgpu plan`.

use std::path::PathBuf;

use nengo_wgpu::{Error, Options, Result, Simulator};

use super::run::n_steps;
use super::{DeviceArg, count, read_spec, say};

/// Shows the structure and cost of a run: loops over time, dispatches and memory.
///
/// Runs nothing and allocates nothing on the device. Without [data], a training step is planned for one minibatch.
#[derive(clap::Args)]
#[command(after_help = "Example: nengo-wgpu plan examples/digits.toml --train --device cpu")]
pub struct PlanArgs {
    /// The TOML file with the network
    file: PathBuf,
    /// Steps of the run [default: as for run and train]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    steps: Option<usize>,
    /// Simulated time of the run, in seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, conflicts_with_all = ["steps", "train"])]
    time: Option<f64>,
    /// Examples per minibatch [default: that of [train], or as for run]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    minibatch: Option<usize>,
    #[command(flatten)]
    device: DeviceArg,
    /// Location of the data, instead of [data]: the directory of IDX files, or a CSV file or its directory
    #[arg(long, value_name = "DIR", requires = "train")]
    data: Option<PathBuf>,
    /// Plan a training step of [train] instead of a run
    #[arg(long)]
    train: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the plan.
pub fn run(args: &PlanArgs) -> Result<()> {
    let spec = read_spec(&args.file, args.data.as_ref())?;
    let network = spec.build()?;
    let device = args.device.open()?;
    let takes_data = spec.node.iter().any(|n| n.is_input());
    let file = || spec.train.as_ref().filter(|_| takes_data || args.train).map(|t| t.minibatch);
    let minibatch = args.minibatch.or_else(file).unwrap_or(if takes_data { 32 } else { 1 });
    let options = Options { minibatch, dt: spec.dt, seed: None };
    let mut sim = Simulator::planner(&network, &device, options)?;
    let outline = if args.train {
        let (examples, (inputs, targets)) = match &spec.data {
            Some(_) => {
                let examples = spec.load_data()?.train;
                (examples.len(), spec.signals(&network, &examples)?)
            }
            None => (minibatch, spec.random_signals(&network, minibatch)?),
        };
        sim.compile(spec.training(&network, examples)?)?;
        let steps = args.steps.unwrap_or(spec.train()?.steps);
        sim.outline_training(&inputs, &targets, Some(steps))?
    } else {
        if network.probe_ids().next().is_none() {
            let problem = "it has no probe, so nothing would be computed; add a [[probe]]";
            return Err(Error::invalid("the network", problem));
        }
        sim.outline_run(&spec.random_inputs(minibatch), n_steps(args.steps, args.time, &spec, takes_data)?)?
    };
    if args.json {
        let text = serde_json::to_string_pretty(&outline);
        say(&text.map_err(|e| Error::invalid("the plan", e.to_string()))?);
    } else {
        say(&outline.to_string());
    }
    Ok(())
}
