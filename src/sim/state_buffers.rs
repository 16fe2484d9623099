//! States on the device: made, reset, saved, restored, read and freed.

use crate::engine::{Binding, BufferRef, Command, Program, Recording};
use crate::error::{Error, Result};
use crate::sim::core::Core;
use crate::sim::states::{Backup, Borders, NonFiniteState, StateKey, StateLayout, States, Values};

impl Core {
    /// The shared buffer that holds, or would hold, states of so many floats.
    pub(crate) fn state_buffer(&self, key: StateKey, len: usize) -> usize {
        self.states.get(&(key, len)).map_or(self.shared.next(), |s| s.current)
    }

    /// Makes the buffers of [`Core::state_buffer`] at their start, on first use.
    pub(crate) fn make_states(&mut self, key: StateKey, layout: StateLayout) -> Result<()> {
        let len = layout.start.len();
        if len == 0 {
            return Ok(());
        }
        if let Some(made) = self.states.get(&(key, len)) {
            // Programs that go on from each other's states must agree where they lie.
            let agree = made.named == layout.named;
            let problem = "its states lie otherwise than those that it goes on from; reset the simulator";
            return if agree { Ok(()) } else { Err(Error::invalid("the program", problem)) };
        }
        let current = self.share(len, "states")?;
        let initial = self.share(len, "states at the start")?;
        for buffer in [current, initial] {
            self.engine.write(self.shared.at(buffer), 0, &layout.start)?;
        }
        let reset = self.copy("reset", (initial, 0), (current, 0), len)?;
        let StateLayout { forward, named, .. } = layout;
        let states = States { current, initial, forward, len, reset, named, backup: None, borders: None };
        self.states.insert((key, len), states);
        Ok(())
    }

    /// The copies of all states of `key`, made on first use.
    pub(crate) fn backups(&mut self, key: StateKey) -> Result<Vec<Backup>> {
        let keys: Vec<_> = self.states.keys().filter(|(k, _)| *k == key).copied().collect();
        let mut backups = Vec::new();
        for key in keys {
            let (current, len) = (self.states[&key].current, self.states[&key].len);
            let backup = match &self.states[&key].backup {
                Some(backup) => backup.clone(),
                None => {
                    let buffer = self.share(len, "a copy of the states")?;
                    let save = self.copy("save", (current, 0), (buffer, 0), len)?;
                    let restore = self.copy("restore", (buffer, 0), (current, 0), len)?;
                    Backup { buffer, save, restore }
                }
            };
            if let Some(states) = self.states.get_mut(&key) {
                states.backup = Some(backup.clone());
            }
            backups.push(backup);
        }
        Ok(backups)
    }

    /// Makes what a training in windows with `count` saved borders needs, where there are states.
    pub(crate) fn make_borders(&mut self, key: (StateKey, usize), count: usize) -> Result<()> {
        let Some(states) = self.states.get_mut(&key) else { return Ok(()) };
        if states.borders.as_ref().is_some_and(|b| b.save.len() >= count) {
            return Ok(());
        }
        let (current, initial, forward, len) = (states.current, states.initial, states.forward, states.len);
        let old = states.borders.take().and_then(|old| old.unload(self.engine.as_mut()));
        old.into_iter().for_each(|buffer| self.shared.free(buffer, self.engine.as_mut()));
        let buffer = match count * forward {
            0 => None,
            floats => Some(self.share(floats, "states at the borders of windows")?),
        };
        let reset_forward = self.copy("reset", (initial, 0), (current, 0), forward)?;
        let (start, now) = ((initial, forward), (current, forward));
        let reset_adjoint = self.copy("reset of the gradient", start, now, len - forward)?;
        let (mut save, mut restore) = (Vec::new(), Vec::new());
        for i in 0..count {
            let border = (buffer.unwrap_or(current), i * forward);
            save.push(self.copy("save", (current, 0), border, forward)?);
            restore.push(self.copy("restore", border, (current, 0), forward)?);
        }
        if let Some(states) = self.states.get_mut(&key) {
            states.borders = Some(Borders { buffer, reset_forward, reset_adjoint, save, restore });
        }
        Ok(())
    }

    /// A program that copies so many floats from one place in the shared buffers (buffer and first float) to another.
    fn copy(&mut self, label: &str, from: (usize, usize), to: (usize, usize), len: usize) -> Result<Program> {
        let at = |(buffer, offset)| Binding { buffer: BufferRef::Shared(buffer), offset, len };
        let copy = (len > 0).then(|| Command::Copy { from: at(from), to: at(to) });
        let commands = copy.into_iter().collect();
        let recording = Recording { label: label.into(), locals: Vec::new(), commands };
        self.engine.load(&recording, self.shared.all())
    }

    /// A new shared buffer.
    fn share(&mut self, len: usize, label: &str) -> Result<usize> {
        let buffer = self.engine.allocate(len, label)?;
        Ok(self.shared.add(buffer))
    }

    /// Frees the states that are not `wanted`.
    pub(crate) fn drop_states(&mut self, wanted: impl Fn(&(StateKey, usize)) -> bool) {
        let gone: Vec<States> = self.states.extract_if(.., |key, _| !wanted(key)).map(|(_, s)| s).collect();
        for States { current, initial, reset, backup, borders, .. } in gone {
            self.engine.unload(reset);
            let mut buffers = vec![current, initial];
            if let Some(Backup { buffer, save, restore }) = backup {
                [save, restore].into_iter().for_each(|p| self.engine.unload(p));
                buffers.push(buffer);
            }
            buffers.extend(borders.and_then(|borders| borders.unload(self.engine.as_mut())));
            buffers.into_iter().for_each(|buffer| self.shared.free(buffer, self.engine.as_mut()));
        }
    }

    /// Sets states to their start, those of callbacks too.
    pub(crate) fn reset_states(&mut self, key: StateKey) -> Result<()> {
        self.kept.remove(&key);
        let resets: Vec<&Program> =
            self.states.iter().filter(|((k, _), _)| *k == key).map(|(_, s)| &s.reset).collect();
        if resets.is_empty() { Ok(()) } else { self.engine.submit(&resets, None) }
    }

    /// The network's own states of `key`, as they are.
    pub(crate) fn read_states(&mut self, key: StateKey) -> Result<Values> {
        let all = self.states.iter().filter(|((of, _), _)| *of == key);
        all.map(|(at, s)| Ok((*at, self.engine.read(self.shared.at(s.current), 0, s.forward)?))).collect()
    }

    /// Puts states back that were read.
    pub(crate) fn write_states(&mut self, values: &Values) -> Result<()> {
        for (at, values) in values {
            if let Some(states) = self.states.get(at) {
                self.engine.write(self.shared.at(states.current), 0, values)?;
            }
        }
        Ok(())
    }

    /// The first state of `key` that is not finite.
    pub(crate) fn nonfinite_state(&mut self, key: StateKey) -> Result<Option<NonFiniteState>> {
        let values = self.read_states(key)?;
        Ok(self.nonfinite_among(&values))
    }

    /// The first of states that were read that is not finite.
    pub(crate) fn nonfinite_among(&self, values: &Values) -> Option<NonFiniteState> {
        values.iter().find_map(|(at, values)| {
            self.states.get(at)?.named.iter().find_map(|state| {
                let own = &values[state.first..state.first + state.len];
                let i = own.iter().position(|x| !x.is_finite())?;
                let (what, example, element) = state.element(i);
                let place = format!("example {example} of the minibatch, element {element}");
                Some(NonFiniteState { what, value: own[i], place })
            })
        })
    }
}
