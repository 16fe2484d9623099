//! What goes into a program and comes out of it: data, what nodes give by themselves, and what probes recorded.

use ndarray::Array3;

use crate::builder::Feed;
use crate::engine::{BufferId, BufferRef};
use crate::error::{Error, Result, guarded};
use crate::graph::{Dims, Extent};
use crate::network::{Kind, Node, Object, ObjectId, ProbeId};
use crate::sim::core::Core;
use crate::sim::data::{Data, by_example};
use crate::sim::processes::clock;
use crate::sim::program::LoadedProgram;
use crate::sim::targets::{counted, targets_of};
use crate::sim::window_input::WindowInput;

impl Core {
    /// The input nodes of which `data` holds one row an example.
    pub(crate) fn held_inputs(&self, data: &Data) -> Vec<ObjectId> {
        let held = |(name, signal): (&String, &crate::sim::Signal)| match signal.steps() {
            None => self.network.find(name).ok(),
            Some(_) => None,
        };
        data.signals.iter().filter_map(held).collect()
    }

    /// Refuses data that do not fit the network's input nodes.
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

    /// Fills the feeds of a program.
    pub(crate) fn upload(&mut self, loaded: &LoadedProgram, from: &WindowInput<'_>) -> Result<()> {
        let dims = loaded.dims;
        let &WindowInput { inputs, targets, batch, first, data_first, run, share, ends, training_step } =
            from;
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
                Feed::Counted(of) => {
                    let (_, factor) = counted(self, of, from)?;
                    self.engine.write(buffer, 0, &[factor as f32])?;
                }
            }
        }
        Ok(())
    }

    /// What a node gives by itself: constants, arrays, functions of time and processes.
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

    /// A probe's rows in a window that started at step `first`, as (batch, rows, size), without history the last of them
    /// alone; of a parameter as (1, 1, size).
    pub(crate) fn read_output(
        &mut self,
        probe: usize,
        loaded: &LoadedProgram,
        first: u64,
    ) -> Result<Array3<f32>> {
        let placed = &loaded.outputs[probe];
        let id = match placed.binding.buffer {
            BufferRef::Local(i) => loaded.program.locals[i],
            BufferRef::Shared(i) => self.shared.at(i),
        };
        let (ty, Dims { batch, steps }) = (placed.ty, loaded.dims);
        let (every, of_parameter) = (self.sample_every(ProbeId(probe)), self.of_parameter(ProbeId(probe)));
        let rows = ((first + steps as u64) / every as u64 - first / every as u64) as usize;
        let kept = if self.keep_history { rows } else { rows.min(1) };
        let in_time =
            ty.extent == Extent::Sequence || (every > 1 && ty.rows == batch * steps.div_ceil(every));
        let mut start = placed.binding.offset + placed.start;
        let dims = Dims { batch, steps: kept };
        if in_time && !of_parameter {
            start += (rows - kept) * batch * ty.cols;
            let len = kept * batch * ty.cols;
            let values = if len == 0 { Vec::new() } else { self.engine.read(id, start, len)? };
            return Ok(by_example(&values, dims, ty.cols));
        }
        let values = self.engine.read(id, start, ty.elements(dims))?;
        let shape = match ty.extent {
            Extent::Fixed if of_parameter => (1, 1, values.len()),
            Extent::Fixed | Extent::Sequence => (1, 1, ty.cols),
            Extent::Example => (batch, 1, ty.cols),
        };
        let wrong =
            |problem: String| Error::invalid(format!("probe '{}'", self.network.probes[probe].name), problem);
        let shaped = Array3::from_shape_vec(shape, values).map_err(|e| wrong(e.to_string()))?;
        if of_parameter {
            return Ok(shaped);
        }
        let full = shaped.broadcast((batch, kept, ty.cols)).map(|v| v.to_owned());
        full.ok_or_else(|| wrong("its values cannot be repeated".into()))
    }
}
