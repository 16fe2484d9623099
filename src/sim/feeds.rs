//! Feeds of a program: data, targets, and values of nodes that have no inputs.

use crate::builder::Feed;
use crate::engine::BufferId;
use crate::error::{Error, Result, guarded};
use crate::graph::Dims;
use crate::network::{Kind, Node, Object, ObjectId, ProbeId};
use crate::sim::core::Core;
use crate::sim::data::{Data, Signal};
use crate::sim::processes::clock;
use crate::sim::program::LoadedProgram;
use crate::sim::targets::{counted, targets_of};
use crate::sim::window_input::WindowInput;

impl Core {
    /// Input nodes with held signals in `data`.
    pub(crate) fn held_inputs(&self, data: &Data) -> Vec<ObjectId> {
        let held = |(name, signal): (&String, &Signal)| match signal.steps() {
            None => self.network.find(name).ok(),
            Some(_) => None,
        };
        data.signals.iter().filter_map(held).collect()
    }

    /// Returns an error for data that do not match the network's input nodes.
    pub(crate) fn check_inputs(&self, data: &Data) -> Result<()> {
        for (name, signal) in &data.signals {
            let object = self.network.object(self.network.find(name)?)?;
            match &object.kind {
                Kind::Node(Node::Input(size)) => {
                    signal.check(&format!("node '{name}'"), *size, false)?;
                }
                _ => {
                    return Err(Error::invalid(format!("'{name}'"), "it takes no data; only input nodes do"));
                }
            }
        }
        for object in &self.network.objects {
            if matches!(object.kind, Kind::Node(Node::Input(_))) && data.get(&object.name).is_none() {
                let problem = "it has no data; give them to the run";
                return Err(Error::invalid(format!("node '{}'", object.name), problem));
            }
        }
        Ok(())
    }

    /// Writes the feeds of a program.
    pub(crate) fn upload(&mut self, loaded: &LoadedProgram, input: &WindowInput<'_>) -> Result<()> {
        let dims = loaded.dims;
        let &WindowInput { inputs, targets, batch, first, data_first, run, share, ends, training_step } =
            input;
        for &(feed, buffer, ty) in &loaded.feeds {
            let len = ty.elements(dims);
            match feed {
                Feed::Random => {
                    let words =
                        [self.seed as u32, (self.seed >> 32) as u32, training_step as u32, first as u32];
                    self.engine.write(buffer, 0, &words.map(f32::from_bits))?;
                }
                Feed::Phase(every) => self.engine.write(buffer, 0, &[(first % every as u64) as f32])?,
                Feed::Share => self.engine.write(buffer, 0, &[share])?,
                Feed::Ends => self.engine.write(buffer, 0, &[f32::from(u8::from(ends))])?,
                Feed::Time => {
                    let dt = self.dt;
                    self.engine.write_with(buffer, 0, len, &mut |to| {
                        for (r, to) in to.iter_mut().enumerate() {
                            *to = ((first + (r / dims.batch) as u64 + 1) as f64 * dt) as f32;
                        }
                    })?;
                }
                Feed::Clock(id) => {
                    let (object, example) = (self.network.object(id)?, batch.first().copied());
                    let words = clock(object, self.seed, training_step, first, example.unwrap_or(0));
                    self.engine.write(buffer, 0, &words)?;
                }
                Feed::Node(id) => {
                    let object = self.network.object(id)?;
                    if let Kind::Node(Node::Input(_)) = object.kind {
                        let signal = inputs.get(&object.name);
                        let missing = || Error::invalid(format!("node '{}'", object.name), "it has no data");
                        let signal = signal.ok_or_else(missing)?;
                        self.engine.write_with(buffer, 0, len, &mut |to| {
                            signal.gather(batch, data_first, dims, to)
                        })?;
                    } else {
                        let object = object.clone();
                        self.upload_node(&object, buffer, len, first, dims)?;
                    }
                }
                Feed::Target(probe) => {
                    let signal = targets_of(self, targets, probe)?;
                    self.engine
                        .write_with(buffer, 0, len, &mut |to| signal.gather(batch, data_first, dims, to))?;
                }
                Feed::Spread(probe, last) => {
                    let every = self.sample_every(ProbeId(probe));
                    let signal = targets_of(self, targets, probe)?;
                    self.engine.write_with(buffer, 0, len, &mut |to| {
                        signal.spread((batch, every, last), (data_first, run), dims, to);
                    })?;
                }
                Feed::Recorded(every) => self.engine.write_with(buffer, 0, len, &mut |to| {
                    for (r, to) in to.iter_mut().enumerate() {
                        let done = data_first + r / dims.batch + 1;
                        *to = f32::from(done.is_multiple_of(every));
                    }
                })?,
                Feed::Counted(key) => {
                    let (_, factor) = counted(self, key, input)?;
                    self.engine.write(buffer, 0, &[factor as f32])?;
                }
            }
        }
        Ok(())
    }

    /// Writes the values of a node without inputs: a constant, an array, a function of time or a process.
    fn upload_node(
        &mut self,
        object: &Object,
        buffer: BufferId,
        len: usize,
        first: u64,
        dims: Dims,
    ) -> Result<()> {
        let what = format!("node '{}'", object.name);
        let size = object.size_out;
        match &object.kind {
            Kind::Node(Node::Constant(values)) => self.engine.write(buffer, 0, values),
            Kind::Node(Node::Array(rows)) => {
                let end = first as usize + dims.steps;
                if end > rows.nrows() {
                    let problem =
                        format!("its array has {} steps, but the run goes to step {end}", rows.nrows());
                    return Err(Error::invalid(what, problem));
                }
                self.engine.write_with(buffer, 0, len, &mut |to| {
                    for (r, to) in to.chunks_exact_mut(size).enumerate() {
                        let row = rows.row(first as usize + r / dims.batch);
                        to.iter_mut().zip(row).for_each(|(to, x)| *to = *x);
                    }
                })
            }
            Kind::Node(Node::Function(..) | Node::Process(_)) => {
                let f = match &object.kind {
                    Kind::Node(Node::Function(_, f)) => Some(f),
                    _ => self.processes.get(&object.name),
                };
                let Some(f) = f.cloned() else { return Ok(()) };
                let mut values = Vec::with_capacity(dims.steps * size);
                for step in 0..dims.steps as u64 {
                    let t = (first + step + 1) as f64 * self.dt;
                    let row = guarded(&what, || f(t))?;
                    if row.len() != size {
                        let got = format!("{} values at {t} s", row.len());
                        return Err(Error::shape(what, size, "what its function gives", got));
                    }
                    if let Some(&value) = row.iter().find(|x| !x.is_finite()) {
                        let hint = "its function must give finite numbers".into();
                        return Err(Error::NotFinite { what, value, step: first + step, hint });
                    }
                    values.extend(row);
                }
                self.engine.write_with(buffer, 0, len, &mut |to| {
                    for (r, to) in to.chunks_exact_mut(size).enumerate() {
                        let t = r / dims.batch;
                        to.copy_from_slice(&values[t * size..(t + 1) * size]);
                    }
                })
            }
            _ => Ok(()),
        }
    }
}
