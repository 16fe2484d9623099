//! Sizes of the shared buffers of a training.

use crate::optim::update::LINE;
use crate::sim::core::Core;
use crate::sim::shared::Shared;
use crate::trainer::Training;

/// The shared buffers of training: which, floats, and name.
pub(crate) fn training_sizes(core: &Core, training: &Training) -> Vec<(Shared, usize, &'static str)> {
    let floats = core.layout.floats();
    let sums = 4 * (core.layout.segments.list.len() + 1);
    let slots = training.optimiser.rule().slots(training.optimiser.momentum_of());
    let mut sizes = vec![
        (Shared::Gradients, floats, "gradients"),
        (Shared::Report, training.scalars() * LINE + sums.next_multiple_of(4), "the report"),
        (Shared::Table, core.layout.segments.table().len(), "the table of parameters"),
        (Shared::Hyper, LINE, "the optimiser's numbers"),
        (Shared::Partials, (2 * core.layout.segments.lines()).next_multiple_of(4).max(4), "partial sums"),
    ];
    sizes
        .extend((0..3).map(|i| (Shared::Slot(i), if slots[i] { floats } else { LINE }, "an optimiser slot")));
    sizes
}

/// Floats of a window's gradients and report.
pub(crate) fn parts_len(core: &Core, scalars: usize) -> usize {
    core.layout.floats() + scalars * LINE
}
