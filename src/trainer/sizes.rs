//! Sizes of the shared buffers of training.

use crate::optim::update::LINE;
use crate::sim::core::Core;
use crate::sim::shared::Shared;
use crate::trainer::Training;

/// Shared buffers of training, with their floats and labels.
pub(crate) fn training_sizes(core: &Core, training: &Training) -> Vec<(Shared, usize, &'static str)> {
    let floats = core.layout.floats();
    let slots = training.optimiser.rule().slots(training.optimiser.momentum_of());
    let mut sizes = vec![
        (Shared::Gradients, floats, "gradients"),
        (Shared::Report, training.scalars() * LINE + sums_len(core), "the report"),
        (Shared::Table, core.layout.segments.table().len(), "the table of parameters"),
        (Shared::Hyper, LINE, "the optimiser's numbers"),
        (Shared::Partials, partials_len(core), "partial sums"),
    ];
    sizes
        .extend((0..3).map(|i| (Shared::Slot(i), if slots[i] { floats } else { LINE }, "an optimiser slot")));
    sizes
}

/// Floats of the parameters and of all shared buffers of training but that of windows.
pub(crate) fn shared_floats(core: &Core, training: &Training) -> usize {
    core.layout.floats() + training_sizes(core, training).iter().map(|(_, len, _)| len).sum::<usize>()
}

/// Floats of the norms' sums, behind the report's lines.
pub(crate) fn sums_len(core: &Core) -> usize {
    4 * (core.layout.segments.list.len() + 1)
}

/// Floats of the norms' partial sums.
pub(crate) fn partials_len(core: &Core) -> usize {
    (2 * core.layout.segments.lines()).next_multiple_of(4).max(4)
}

/// Floats of the report that are read back: a line for each scalar, then two sums for each parameter.
pub(crate) fn report_len(core: &Core, scalars: usize) -> usize {
    scalars * LINE + 2 * core.layout.segments.list.len().max(1)
}

/// Floats of a window's gradients and report.
pub(crate) fn parts_len(core: &Core, scalars: usize) -> usize {
    core.layout.floats() + scalars * LINE
}
