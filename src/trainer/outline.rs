//! Outlines of training steps: programs, dispatches and memory, before anything is allocated.

use crate::error::Result;
use crate::graph::Dims;
use crate::plan::Report;
use crate::sim::core::Core;
use crate::sim::{Data, Outline, OutlinePart};
use crate::trainer::compiled::Trainer;
use crate::trainer::key::TrainKey;
use crate::trainer::memory::Cut;
use crate::trainer::sizes::shared_floats;

impl Trainer {
    /// Outline of a training step on a minibatch of these data.
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
        for (pass, steps) in windows.passes() {
            let key = TrainKey { dims: Dims { steps, ..key.dims }, pass, ..key.clone() };
            let mut planned = self.plan_training(core, &key)?;
            self.append_own_update(core, &key, &mut planned);
            states = states.max(planned.layout.start.len());
            parts.push(OutlinePart { times: windows.times(pass, steps), program: Report::of(&planned.plan) });
        }
        let floats = shared_floats(core, &self.training);
        let outline = core.outlined(key.dims.steps, parts, 4 * floats as u64, 2 * 4 * states as u64)?;
        // Includes the programs of the last examples, which do not fill a minibatch.
        let bytes = self.estimate(core, &key, examples, windows.backprop())?.bytes;
        // Data may have fewer examples than a minibatch.
        Ok(Outline { bytes, note, minibatch: key.dims.batch, ..outline })
    }
}
