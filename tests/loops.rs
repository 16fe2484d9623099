//! Loops that walk through time inside of a shader, against the same loops dispatched step by step.

mod common;

use std::sync::Arc;

use common::{Case, Ready, devices, dims};
use nengo_wgpu::build::gradient::gradient;
use nengo_wgpu::engine::Command;
use nengo_wgpu::graph::{Dims, Tensor, Type, ValueId};
use nengo_wgpu::op::filter::lowpass;
use nengo_wgpu::plan::Plan;

/// A loss and its gradient for all parameters.
fn with_gradients(dims: Dims, f: impl for<'s> Fn(&'s Case) -> Tensor<'s>) -> Ready {
    let case = Case::new(dims);
    let outputs: Vec<ValueId> = {
        let y = f(&case);
        let loss = y.square().mean_all();
        let adjoints = gradient(&case.scope, loss, &case.parameter_ids(), |_| "p".into()).unwrap();
        [y, loss].into_iter().chain(adjoints.into_iter().flatten()).map(|t| t.id).collect()
    };
    case.ready(outputs)
}

/// Rectified units that hear each other through a lowpass.
fn rectified<'s>(c: &'s Case, inputs: usize, units: usize) -> Tensor<'s> {
    let x = c.feed(Type::sequence(inputs)).dot(c.parameter(units, inputs));
    let heard = c.scope.open(Arc::new(lowpass(0.7, 0.3, true)), Type::sequence(units));
    let scale = c.scope.constant(1.0 / units as f32);
    let y = (x + heard.dot(c.parameter(units, units)) * scale + c.parameter(1, units)).relu();
    c.scope.close(heard, y);
    y
}

fn fused(plan: &Plan) -> Vec<usize> {
    let repeat = |c: &Command| match c {
        Command::Repeat { fused, .. } => Some(fused.len()),
        _ => None,
    };
    plan.recording.commands.iter().filter_map(repeat).collect()
}

#[test]
fn rectified_units() {
    for units in [1, 3, 33, 36, 64] {
        for batch in [1, 5, 33] {
            let case = with_gradients(dims(batch, 7), |c| rectified(c, 5, units));
            println!("{units} {batch} {:?}", fused(&case.plan(devices()[0].target())));
            case.check(&format!("{units} units, {batch} examples"), 2e-5);
        }
    }
}
