//! What a training step does and costs, before anything is allocated.

use crate::error::Result;
use crate::graph::Dims;
use crate::plan::Report;
use crate::sim::core::Core;
use crate::sim::{Data, Outline, OutlinePart};
use crate::trainer::compiled::Trainer;
use crate::trainer::key::TrainKey;
use crate::trainer::memory::Cut;
use crate::trainer::sizes::training_sizes;

impl Trainer {
    /// What a training step on a minibatch of these data does and costs, as it was compiled.
    pub(crate) fn outline_training(
        &self,
        core: &Core,
        inputs: &Data,
        targets: &Data,
        n_steps: Option<usize>,
    ) -> Result<Outline> {
        let (examples, key) = self.key(core, inputs, targets, n_steps, true)?;
        let Cut { windows, note, .. } = self.windows(core, &key, examples)?;
        let (mut parts, mut states) = (Vec::new(), 0);
        for (part, steps) in windows.parts() {
            let key = TrainKey { dims: Dims { steps, ..key.dims }, part, ..key.clone() };
            let mut planned = self.plan_training(core, &key)?;
            self.append_own_update(core, &key, &mut planned);
            states = states.max(planned.layout.start.len());
            parts.push(OutlinePart { times: windows.times(part, steps), program: Report::of(&planned.plan) });
        }
        let sizes = training_sizes(core, &self.training);
        let floats = core.layout.floats() + sizes.iter().map(|(_, len, _)| len).sum::<usize>();
        let outline = core.outlined(key.dims.steps, parts, 4 * floats as u64, 2 * 4 * states as u64)?;
        // With programs of their own for examples that do not fill a minibatch.
        let bytes = self.estimate(core, &key, examples, windows.backprop())?.bytes;
        // Of fewer examples than a minibatch, all are taken.
        Ok(Outline { bytes, note, minibatch: key.dims.batch, ..outline })
    }
}
