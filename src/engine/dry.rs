//! An engine that counts the bytes of its buffers and allocates nothing. For plans and memory estimates.

use crate::engine::{BufferId, Engine, Program, Recording};
use crate::error::{Error, Result};

/// Counts bytes of buffers. It stores nothing and runs nothing.
#[derive(Default)]
pub struct DryEngine {
    buffers: Vec<Option<usize>>,
    programs: usize,
}

/// Error of every method that would run something.
fn nothing_runs() -> Error {
    Error::invalid("a simulator that only plans", "it cannot run; make one with Simulator::with")
}

impl Engine for DryEngine {
    fn allocate(&mut self, len: usize, _: &str) -> Result<BufferId> {
        self.buffers.push(Some(len));
        Ok(BufferId(self.buffers.len() - 1))
    }

    fn free(&mut self, buffer: BufferId) {
        if let Some(slot) = self.buffers.get_mut(buffer.0) {
            *slot = None;
        }
    }

    fn write_with(&mut self, _: BufferId, _: usize, _: usize, _: &mut dyn FnMut(&mut [f32])) -> Result<()> {
        Ok(())
    }

    fn read(&mut self, _: BufferId, _: usize, _: usize) -> Result<Vec<f32>> {
        Err(nothing_runs())
    }

    fn load(&mut self, recording: &Recording, _: &[BufferId]) -> Result<Program> {
        let locals = recording.locals.iter().map(|(len, name)| self.allocate(*len, name));
        let locals = locals.collect::<Result<_>>()?;
        self.programs += 1;
        Ok(Program { id: self.programs - 1, locals })
    }

    fn unload(&mut self, program: Program) {
        program.locals.into_iter().for_each(|id| self.free(id));
    }

    fn submit(&mut self, _: &[&Program], _: Option<(BufferId, usize)>) -> Result<()> {
        Err(nothing_runs())
    }

    fn reports(&mut self, _: bool) -> Result<Vec<Vec<f32>>> {
        Ok(Vec::new())
    }

    fn profile(&mut self, _: &Program, _: usize) -> Result<Vec<(String, f64)>> {
        Err(nothing_runs())
    }

    fn allocated_bytes(&self) -> u64 {
        self.buffers.iter().flatten().map(|len| 4 * *len as u64).sum()
    }
}
